// Package sandbox gives tests and the demo a machine of their own: fresh network, mount and process namespaces, and
// as an ordinary user a fresh user namespace too. Whatever is made inside goes when its first process ends, even by
// SIGKILL.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const inside = "BERTH_SANDBOX"

// Enter runs this program again inside a sandbox and exits with its exit code; inside, it returns. It returns an
// error where the kernel refuses the namespaces: then the caller says so, and does without.
func Enter() error {
	if os.Getenv(inside) != "" {
		return settle()
	}
	flags := syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		flags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	attr.Cloneflags = uintptr(flags)
	child := exec.Command("/proc/self/exe", os.Args[1:]...)
	child.Args[0] = os.Args[0]
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), inside+"=1")
	child.SysProcAttr = attr
	if err := child.Start(); err != nil {
		return fmt.Errorf("sandbox: the kernel refuses new namespaces: %w", err)
	}
	forward(child.Process)
	err := child.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(exit.ExitCode(), 1))
	}
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	os.Exit(0)
	return nil
}

// forward hands the signals that ask for an end to the child, which is to clean up and end by itself.
func forward(child *os.Process) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			_ = child.Signal(s)
		}
	}()
}

// settle gives the sandbox its own view of processes and of /run, and brings its loopback up.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("sandbox: make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("sandbox: mount /proc: %w", err)
	}
	if err := unix.Mount("berth-sandbox", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("sandbox: mount /run: %w", err)
	}
	return Loopback()
}

// Loopback brings the loopback interface of this thread's network namespace up.
func Loopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("sandbox: socket: %w", err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("sandbox: bring lo up: %w", err)
	}
	return nil
}

// Namespace makes a network namespace, keeps it alive by a bind mount at path, and brings its loopback up. The
// directory of path is made where it is missing.
func Namespace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mountpoint, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	mountpoint.Close()
	return inNewThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("sandbox: new network namespace: %w", err)
		}
		if err := Loopback(); err != nil {
			return err
		}
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("sandbox: bind %s: %w", path, err)
		}
		return nil
	})
}

// Within runs f in a thread of its own whose network namespace is the one at path.
func Within(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNewThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("sandbox: enter %s: %w", path, err)
		}
		return f()
	})
}

// Remove lets go of the namespace at path; it ends with the last process or descriptor in it. Absence is success.
func Remove(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("sandbox: unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
