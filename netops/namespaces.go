package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/berth-ipam/berth/netops/rtnl"
	"golang.org/x/sys/unix"
)

// isHome reports whether a namespace is the host's.
func (k *Kernel) isHome(ns *os.File) bool {
	home, err := k.home.Stat()
	if err != nil {
		return false
	}
	other, err := ns.Stat()
	return err == nil && os.SameFile(home, other)
}

// NamespaceID is a namespace's cookie: the kernel gives it to no other one until the machine boots again.
func NamespaceID(ns *os.File) (uint64, error) {
	cookie, err := rtnl.NamespaceCookie(ns)
	if err != nil {
		return 0, fmt.Errorf("netops: %w", err)
	}
	return cookie, nil
}

// Ids that are asked for begin here: the kernel's own choice is always the lowest that is free.
const firstID = 1 << 30

// LastingID reports whether no later namespace gets an id that WatchNamespace gave.
func LastingID(id int) bool { return id >= firstID }

// WatchNamespace gives a namespace an id in the host's, so that NamespaceGone tells of its end; it does not keep it
// alive. An id that it has already stays. Else it is made of the namespace's cookie, and then no later namespace gets
// the same one.
func (k *Kernel) WatchNamespace(ns *os.File) (id int, err error) {
	cookie, err := NamespaceID(ns)
	if err != nil {
		return 0, err
	}
	err = k.host.With(func(s *rtnl.Socket) error {
		id, err = rtnl.GiveNamespaceID(s, ns, firstID+int(cookie%firstID))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("netops: %w", err)
	}
	return id, nil
}

// NamespaceAlive reports whether a namespace has the id that WatchNamespace gave. An id below 1<<30 was the kernel's
// choice: a later namespace can have the same, so that only NamespaceHas is proof.
func (k *Kernel) NamespaceAlive(id int) (alive bool, err error) {
	err = k.host.With(func(s *rtnl.Socket) error { alive, err = rtnl.HasNamespaceID(s, id); return err })
	if err != nil {
		return false, fmt.Errorf("netops: %w", err)
	}
	return alive, nil
}

// NamespaceHas reports whether the namespace of that id lives and an interface inside it has the address.
func (k *Kernel) NamespaceHas(id int, a netip.Addr) (has bool, err error) {
	if alive, err := k.NamespaceAlive(id); err != nil || !alive {
		return false, err
	}
	err = k.host.With(func(s *rtnl.Socket) error { has, err = rtnl.AddressIn(s, id, a); return err })
	if errors.Is(err, unix.EINVAL) { // it has ended meanwhile, or the kernel cannot say
		if alive, asked := k.NamespaceAlive(id); asked == nil && !alive {
			return false, nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("netops: %w", err)
	}
	return has, nil
}
