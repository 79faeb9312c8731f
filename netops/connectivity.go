package netops

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/echo"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// NewNamespace makes a network namespace that is there as long as its file is open, or somebody is in it: the kernel ends it with the
// process.
func (k *Kernel) NewNamespace() (ns *os.File, err error) {
	err = rtnl.Within(k.home, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		ns, err = rtnl.ThreadNamespace()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netops: make a network namespace: %w", err)
	}
	return ns, nil
}

// Echo asks for an echo: see echo.Ask. A request that names no namespace is the host's.
func (k *Kernel) Echo(ctx context.Context, r echo.Request) error {
	if r.From == nil {
		r.From = k.home
	}
	if err := echo.Ask(ctx, r); err != nil {
		return fmt.Errorf("netops: %w", err)
	}
	return nil
}
