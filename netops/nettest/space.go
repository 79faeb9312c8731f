package nettest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/sandbox"
)

var namespaces atomic.Int64

// A Space is a network namespace of a test's own.
type Space struct {
	T    testing.TB
	Path string
}

// NewSpace makes one, which is gone with the test.
func NewSpace(t testing.TB) Space {
	t.Helper()
	s := Space{t, fmt.Sprintf("/run/netns/t%d", namespaces.Add(1))}
	Must(t, sandbox.Namespace(s.Path))
	t.Cleanup(func() { _ = sandbox.Remove(s.Path) })
	return s
}

// Do runs f inside, and ends the test on an error.
func (s Space) Do(f func() error) {
	s.T.Helper()
	Must(s.T, sandbox.Within(s.Path, f))
}

// Open opens the namespace until the end of the test.
func (s Space) Open() *os.File {
	s.T.Helper()
	f, err := os.Open(s.Path)
	Must(s.T, err)
	s.T.Cleanup(func() { f.Close() })
	return f
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits for a condition, with a deadline.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// Prefixes reads addresses with the lengths of their prefixes.
func Prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Mentions reports whether an error says all the words.
func Mentions(err error, words ...string) bool {
	if err == nil {
		return false
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}

// LinkAt is a link inside; none: nil.
func (s Space) LinkAt(name string) (found netlink.Link) {
	s.T.Helper()
	s.Do(func() error {
		link, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		found = link
		return err
	})
	return found
}

// Links lists the names of a namespace's links.
func (s Space) Links() (names []string) {
	s.T.Helper()
	s.Do(func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			names = append(names, l.Name)
		}
		return err
	})
	return names
}

// Enslave makes a link a bridge's port.
func (s Space) Enslave(link, bridge string) {
	s.T.Helper()
	l, b := s.LinkAt(link), s.LinkAt(bridge)
	s.Do(func() error { return netlink.LinkSetMaster(l, b) })
}

// Give adds addresses to a link; those of IPv6 are usable at once.
func (s Space) Give(link string, addresses ...string) {
	s.T.Helper()
	l := s.LinkAt(link)
	s.Do(func() error {
		for _, p := range Prefixes(addresses...) {
			a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return nil
	})
}
