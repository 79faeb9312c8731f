package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// within runs f in a thread that is in the network namespace ns meanwhile. The thread is used again only when it is back
// where it was; else it ends.
func within(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- visit(ns, f) }()
	return <-done
}

func visit(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	home, err := threadNamespace()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", ns.Name(), err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("return from network namespace %s: %w", ns.Name(), back))
	}
	runtime.UnlockOSThread()
	return err
}

// threadNamespace opens the network namespace of the calling thread.
func threadNamespace() (*os.File, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	return ns, nil
}

// checkNamespace reports whether an open file is a network namespace (ioctl_nsfs(2)).
func checkNamespace(ns *os.File) error {
	if ns == nil {
		return errors.New("no network namespace is given: want an open one")
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(ns.Fd()), &fs); err != nil {
		return fmt.Errorf("network namespace %s: %w", ns.Name(), err)
	}
	kind := -1
	if fs.Type == unix.NSFS_MAGIC {
		kind, _ = unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_NSTYPE)
	}
	if kind != unix.CLONE_NEWNET {
		return fmt.Errorf("%s is not a network namespace", ns.Name())
	}
	return nil
}

// isHome reports whether a namespace is the host's.
func (k *Kernel) isHome(ns *os.File) bool {
	home, err := k.home.Stat()
	if err != nil {
		return false
	}
	other, err := ns.Stat()
	return err == nil && os.SameFile(home, other)
}

// NamespaceID is a namespace's cookie: the kernel gives it to no other one until the machine boots again (socket(7),
// SO_NETNS_COOKIE).
func NamespaceID(ns *os.File) (uint64, error) {
	if err := checkNamespace(ns); err != nil {
		return 0, fmt.Errorf("netops: %w", err)
	}
	var cookie uint64
	err := within(ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("netops: cookie of network namespace %s: %w", ns.Name(), err)
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
	id = firstID + int(cookie%firstID)
	err = k.host.with(func(s *socket) error {
		err := s.do(ask(unix.RTM_NEWNSID, 0, "give network namespace "+ns.Name()+" an id", nl.NewRtGenMsg(),
			numberAttr(unix.NETNSA_FD, int(ns.Fd())), numberAttr(unix.NETNSA_NSID, id)))
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		id, err = namespaceID(s, numberAttr(unix.NETNSA_FD, int(ns.Fd())))
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
	err = k.host.with(func(s *socket) error {
		_, err := namespaceID(s, numberAttr(unix.NETNSA_NSID, id))
		switch alive = err == nil; {
		case errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EINVAL):
			return err
		}
		// Kernels before 4.20 look none up by its id: theirs are listed.
		return s.dump(unix.RTM_GETNSID, "list namespace ids", func() { alive = false }, func(_ uint16, body []byte) {
			for kind, value := range attributes(body[sizeofGeneric:]) {
				alive = alive || kind == unix.NETNSA_NSID && number(value) == id
			}
		}, nl.NewRtGenMsg())
	})
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
	err = k.host.with(func(s *socket) error {
		held, err := addressesOf(s, familyOf(a), 0, numberAttr(unix.IFA_TARGET_NETNSID, id))
		for _, h := range held {
			has = has || h.prefix.Addr() == a
		}
		return err
	})
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

// sizeofGeneric is the size of the header of messages about namespaces: struct rtgenmsg, padded.
const sizeofGeneric = 4

// namespaceID asks for the id of a namespace in the host's.
func namespaceID(s *socket, which *nl.RtAttr) (id int, err error) {
	id = -1
	err = s.get(func(_ uint16, body []byte) {
		for kind, value := range attributes(body[sizeofGeneric:]) {
			if kind == unix.NETNSA_NSID {
				id = number(value)
			}
		}
	}, ask(unix.RTM_GETNSID, 0, "ask for a namespace's id", nl.NewRtGenMsg(), which))
	if err == nil && id < 0 {
		err = errors.New("the network namespace has no id in the host's")
	}
	return id, err
}
