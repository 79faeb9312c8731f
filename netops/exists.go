package netops

import (
	"errors"

	"golang.org/x/sys/unix"
)

// HasPort reports whether the host has a link of that name. Where the kernel cannot be asked, it says yes: absence is
// evidence on which addresses are given to others.
func (k *Kernel) HasPort(name string) bool {
	err := k.host.with(func(s *socket) error { _, err := linkNamed(s, name); return err })
	return !errors.Is(err, unix.ENODEV)
}
