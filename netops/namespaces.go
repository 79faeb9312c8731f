package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
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

// NamespaceInode identifies a namespace of a running kernel (ioctl_nsfs(2)). What is no network namespace is an error.
func (k *Kernel) NamespaceInode(ns *os.File) (uint64, error) { return namespaceInode(ns) }

func namespaceInode(ns *os.File) (uint64, error) {
	if err := rtnl.CheckNamespace(ns); err != nil {
		return 0, fmt.Errorf("netops: %w", err)
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &s); err != nil {
		return 0, fmt.Errorf("netops: stat %s: %w", ns.Name(), err)
	}
	return s.Ino, nil
}

// FindNamespace opens the network namespace with that inode: at the path, or else where a process is in it.
func (k *Kernel) FindNamespace(path string, inode uint64) (*os.File, error) {
	if f, err := openSame(path, inode); err == nil {
		return f, nil
	}
	processes, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	for _, process := range processes {
		if f, err := openSame(process, inode); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("netops: network namespace %s is not to be seen, nor is a process in it", path)
}

func openSame(path string, want uint64) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if got, err := namespaceInode(f); err != nil || got != want {
		f.Close()
		return nil, fmt.Errorf("%s is another namespace", path)
	}
	return f, nil
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
