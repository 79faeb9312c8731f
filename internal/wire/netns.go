package wire

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	nsfsMagic   = 0x6e736673 // NSFS_MAGIC, statfs(2)
	nsGetNSType = 0xb703     // NS_GET_NSTYPE, ioctl_nsfs(2)
)

// IsNetns is an error unless an open file is a network namespace.
func IsNetns(f *os.File) error {
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &fs); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if fs.Type != nsfsMagic {
		return errors.New("it is not a namespace: want the path of a network namespace, as in /run/netns/NAME or /proc/PID/ns/net")
	}
	kind, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), nsGetNSType, 0)
	if errno != 0 {
		return fmt.Errorf("ask for the namespace's type: %w", errno)
	}
	if kind != syscall.CLONE_NEWNET {
		return errors.New("it is a namespace of another type: want a network namespace")
	}
	return nil
}
