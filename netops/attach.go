package netops

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/l2"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// Attach makes a port, wired and usable when it returns, but in no traffic class: until Join nothing passes. An identical port
// stays, with its class; one that differs is replaced. It returns a *ForeignError if the interface is not Berth's. After an error
// nothing of the port is left.
func (k *Kernel) Attach(p Port) (Attached, error) {
	err := p.validate()
	if err == nil && k.isHome(p.Netns) {
		err = fmt.Errorf("network namespace %s is the host's own: want a container's", p.Netns.Name())
	}
	if err != nil {
		return Attached{}, fmt.Errorf("netops: attach %s: %w", p.Name, err)
	}
	made, err := k.attach(&p)
	if errors.Is(err, errPresent) {
		made, err = k.attachAgain(&p)
	}
	if err != nil {
		return Attached{}, fmt.Errorf("netops: attach %s: %w", p.Name, err)
	}
	return made, nil
}

// attachAgain is for a port or an interface that exists.
func (k *Kernel) attachAgain(p *Port) (Attached, error) {
	if made, err := k.inspect(p); err == nil {
		return made, k.rewrite(p) // where it fails the port stays: its container may run
	}
	if err := k.detach(p.Name); err != nil {
		return Attached{}, err
	}
	made, err := k.attach(p)
	if errors.Is(err, errPresent) {
		return Attached{}, &ForeignError{p.Interface, p.Netns.Name()}
	}
	return made, err
}

// rewrite gives a port that stays its words. The attempt to make it has set their hash as its alias already.
func (k *Kernel) rewrite(p *Port) error {
	return k.host.With(func(s *rtnl.Socket) error {
		l, err := rtnl.LinkNamed(s, p.Name)
		if err != nil || p.Alias == "" || l.Words() == p.Alias {
			return err
		}
		if err := s.Do(rtnl.Rewrite(&l, p.Alias)...); !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		return nil
	})
}

// errPresent says that the host or the container has a link of the wanted name.
var errPresent = errors.New("an interface of its names exists")

func (k *Kernel) attach(p *Port) (made Attached, err error) {
	err = k.monitor.make(p.Name, p.Routed, func() error {
		return k.host.With(func(s *rtnl.Socket) error {
			host, err := k.create(s, p)
			if err != nil {
				return err
			}
			made = Attached{HostMAC: host.MAC.String(), MAC: p.mac().String(), MTU: host.MTU, Index: host.Index}
			if err := k.finish(s, p, host); err != nil {
				return errors.Join(err, k.detach(p.Name))
			}
			return nil
		})
	})
	return made, err
}

// bridgeOf is the bridge of a port; of a routed one: a link that does not exist, and whose MTU its ports get.
func bridgeOf(s *rtnl.Socket, p *Port) (rtnl.Link, error) {
	if p.Routed {
		return rtnl.Link{MTU: UsualMTU}, nil
	}
	bridge, err := rtnl.LinkNamed(s, p.Bridge)
	switch {
	case errors.Is(err, unix.ENODEV):
		return bridge, fmt.Errorf("bridge %q does not exist", p.Bridge)
	case err != nil:
		return bridge, err
	case bridge.Kind != "bridge":
		return bridge, fmt.Errorf("%q is not a bridge", p.Bridge)
	}
	return bridge, nil
}

// create makes the veth pair, its host's end up and on the bridge, its peer down but under its name inside the
// container.
func (k *Kernel) create(s *rtnl.Socket, p *Port) (host rtnl.Link, err error) {
	bridge, err := bridgeOf(s, p)
	if err != nil {
		return host, err
	}
	mtu := cmp.Or(p.MTU, bridge.MTU)
	// The kernel takes no alias at a link's creation.
	change := rtnl.ChangeLink(0, "set alias of "+p.Name, unix.IFF_UP, rtnl.WithName(p.Name))
	if !p.Routed {
		change.AddData(rtnl.AsHairpin())
	}
	if k.speaksV6 && mtu >= sysctl.MinimumV6 {
		change.AddData(rtnl.NoLinkLocal())
	}
	if p.Alias != "" {
		change.AddData(rtnl.WithAlias(p.Alias))
	}
	ends := rtnl.VethPair{Name: p.Name, Peer: p.Interface, Netns: p.Netns, PeerMAC: p.mac(), MTU: mtu, Master: bridge.Index}
	host, err = rtnl.MakeVethPair(s, ends, change)
	switch {
	case errors.Is(err, unix.EEXIST):
		return host, errPresent
	case errors.Is(err, unix.EXFULL):
		return host, &FullError{p.Bridge}
	case err != nil:
		return host, errors.Join(err, k.detach(p.Name))
	}
	if names := rtnl.AltNames(p.Name, p.Alias); len(names) > 0 {
		// A kernel without alternative names keeps only the hash of the text; the port's name identifies its owner, too.
		if err := s.Do(rtnl.NameAlternatively(p.Name, names)); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return host, errors.Join(err, k.detach(p.Name))
		}
	}
	return host, nil
}

// finish configures the container's end, and checks that both ends have carrier.
func (k *Kernel) finish(s *rtnl.Socket, p *Port, host rtnl.Link) error {
	if err := k.Table.Leave(p.Name); err != nil { // it may have been left by a port of this name before
		return err
	}
	if err := rtnl.Within(p.Netns, func() error { return configure(p, host) }); err != nil {
		return err
	}
	if len(p.Answers) > 0 {
		if err := s.Do(answering(p, host.Index)...); err != nil {
			return err
		}
	}
	_, err := rtnl.LinkNamed(s, p.Name)
	return err
}

// Announce announces a port's addresses: at once from inside the container, and again a second later from the bridge, so that
// no socket of ours keeps the container's namespace alive meanwhile. Before Join no host would receive it. It does not wait;
// Leave and Detach end it. A failure is ignored, because neighbours resolve the address anyway. A routed port has no neighbours.
func (k *Kernel) Announce(p Port) {
	if p.Routed {
		return
	}
	fd, err := unix.FcntlInt(p.Netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	inside := l2.Announcement{Netns: os.NewFile(uintptr(fd), p.Netns.Name()), Link: p.Interface, Addresses: p.Addresses, MAC: p.mac()}
	outside := inside
	outside.Netns, outside.Link = k.home, p.Bridge
	k.announcer.Announce(p.Name, inside, outside)
}
