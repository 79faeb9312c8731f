package netops

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Detach ends a port, and takes it out of its class. When it returns, both ends are gone. Absence is success.
func (k *Kernel) Detach(port string) error {
	if err := k.detach(port); err != nil {
		return fmt.Errorf("netops: detach %s: %w", port, err)
	}
	return nil
}

// detach returns when the kernel reports the end of the link. The deletion itself returns much later, when the link's memory is
// freed: it has a goroutine of its own.
func (k *Kernel) detach(port string) error {
	if !strings.HasPrefix(port, Prefix) {
		return fmt.Errorf("want a port's name, which begins with %q", Prefix)
	}
	k.announcer.Silence(port)
	var l rtnl.Link
	err := k.host.With(func(s *rtnl.Socket) (err error) { l, err = rtnl.LinkNamed(s, port); return err })
	switch {
	case errors.Is(err, unix.ENODEV):
		return k.Table.Leave(port)
	case err != nil:
		return errors.Join(err, k.Table.Leave(port))
	}
	ended, deleted := k.monitor.awaitEnd(l.Index), make(chan error, 1)
	go func() { deleted <- k.remove(l) }()
	left := k.Table.Leave(port)
	select {
	case <-ended:
		return left
	case err = <-deleted:
	}
	if err != nil {
		k.monitor.forget(l.Index)
	}
	if errors.Is(err, unix.ENODEV) {
		err = nil
	}
	return errors.Join(err, left)
}

// deletions bounds the deletions under way: each holds a thread in the kernel for some 20 ms after its link is gone.
var deletions = make(chan struct{}, 64)

// remove deletes a link by its index or, where that is 0, by its name.
func (k *Kernel) remove(l rtnl.Link) error {
	deletions <- struct{}{}
	defer func() { <-deletions }()
	return k.host.With(func(s *rtnl.Socket) error {
		return s.Do(rtnl.DeleteLink(l.Index, l.Name))
	})
}
