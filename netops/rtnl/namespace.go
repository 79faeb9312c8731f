package rtnl

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Within runs f in a thread that is in the network namespace ns meanwhile. The thread is used again only when it is back
// where it was; else it ends.
func Within(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- visit(ns, f) }()
	return <-done
}

func visit(ns *os.File, f func() error) error {
	runtime.LockOSThread()
	home, err := ThreadNamespace()
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

// ThreadNamespace opens the network namespace of the calling thread.
func ThreadNamespace() (*os.File, error) {
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open this thread's network namespace: %w", err)
	}
	return ns, nil
}

// CheckNamespace reports whether an open file is a network namespace (ioctl_nsfs(2)).
func CheckNamespace(ns *os.File) error {
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

// NamespaceCookie is a number that the kernel gives to no other namespace until the machine boots again (socket(7),
// SO_NETNS_COOKIE).
func NamespaceCookie(ns *os.File) (uint64, error) {
	if err := CheckNamespace(ns); err != nil {
		return 0, err
	}
	var cookie uint64
	err := Within(ns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cookie of network namespace %s: %w", ns.Name(), err)
	}
	return cookie, nil
}
