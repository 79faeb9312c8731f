package l2

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An Announcement announces the MAC of addresses, over a link of a network namespace.
type Announcement struct {
	Netns     *os.File
	Link      string
	Addresses []netip.Prefix
	MAC       net.HardwareAddr
}

// Send sends one frame for each address. A failure is ignored, because neighbours resolve the address anyway.
func (a *Announcement) Send() {
	_ = rtnl.Within(a.Netns, func() error {
		link, err := netlink.LinkByName(a.Link)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, p := range a.Addresses {
			_ = unix.Sendto(fd, AnnouncementFrame(p.Addr(), a.MAC), 0, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index})
		}
		return nil
	})
}

// Apart is the time between the two announcements of a port: neighbours may accept one a second (arp(7), locktime).
const Apart = 1100 * time.Millisecond

// An Announcer has the announcements that are under way, by port. It is safe for concurrent use.
type Announcer struct {
	Apart time.Duration // of the two announcements

	mu     sync.Mutex
	quit   map[string]chan struct{}
	closed bool
	under  sync.WaitGroup
}

// Announce sends the first announcement at once and closes its namespace's file, and sends the second one later, unless Silence
// or another Announce for the port comes before. It does not wait.
func (a *Announcer) Announce(port string, first, second Announcement) {
	quit := a.begin(port)
	if quit == nil {
		first.Netns.Close()
		return
	}
	go func() {
		defer a.end(port, quit)
		first.Send()
		first.Netns.Close()
		select {
		case <-time.After(a.Apart):
			second.Send()
		case <-quit:
		}
	}()
}

// Wait returns when no announcement is under way.
func (a *Announcer) Wait() { a.under.Wait() }

// begin ends a port's announcement that is under way, and returns the channel that ends the new one; nil: the Announcer is
// closed.
func (a *Announcer) begin(port string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	if a.quit == nil {
		a.quit = map[string]chan struct{}{}
	}
	if former := a.quit[port]; former != nil {
		close(former)
	}
	quit := make(chan struct{})
	a.quit[port] = quit
	a.under.Add(1)
	return quit
}

func (a *Announcer) end(port string, quit chan struct{}) {
	defer a.under.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.quit[port] == quit {
		delete(a.quit, port)
	}
}

// Silence ends the port's announcement.
func (a *Announcer) Silence(port string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if quit := a.quit[port]; quit != nil {
		close(quit)
		delete(a.quit, port)
	}
}

// Close ends all announcements, and returns when none is under way any more.
func (a *Announcer) Close() {
	a.mu.Lock()
	a.closed = true
	for port, quit := range a.quit {
		close(quit)
		delete(a.quit, port)
	}
	a.mu.Unlock()
	a.under.Wait()
}
