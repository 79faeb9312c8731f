package netops

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Check reports everything that is missing from a port or differs from what Attach made, in one error. A port's class
// is not looked at: see Classes.
func (k *Kernel) Check(p Port) error {
	if err := p.validate(); err != nil {
		return fmt.Errorf("netops: check %s: %w", p.Name, err)
	}
	if _, err := k.inspect(&p); err != nil {
		return fmt.Errorf("netops: check %s: %w", p.Name, err)
	}
	return nil
}

// faults collects differences.
type faults []string

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return errors.New(strings.Join(f, "; "))
}

// inspect reads a port's both ends, and answers as Attach does if they are as p wants them.
func (k *Kernel) inspect(p *Port) (Attached, error) {
	var found faults
	var bridge, host rtnl.Link
	err := k.host.With(func(s *rtnl.Socket) (err error) {
		if !p.Routed {
			if bridge, err = present(s, p.Bridge); err != nil {
				return err
			}
		}
		host, err = present(s, p.Name)
		return err
	})
	if err != nil {
		return Attached{}, err
	}
	checkHost(&found, p, host, bridge)
	var in inside
	err = rtnl.Within(p.Netns, func() error {
		s, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		in, err = look(s, p, host)
		return err
	})
	if err != nil {
		return Attached{}, err
	}
	checkInside(&found, p, &in, host)
	return Attached{HostMAC: host.MAC.String(), MAC: in.link.MAC.String(), MTU: host.MTU, Index: host.Index}, found.err()
}

func checkHost(found *faults, p *Port, host, bridge rtnl.Link) {
	if bridge.Index == 0 && !p.Routed {
		found.add("bridge %s does not exist", p.Bridge)
	}
	if host.Index == 0 {
		found.add("port %s does not exist on the host", p.Name)
		return
	}
	switch {
	case p.Routed && host.Master != 0:
		found.add("port %s is on a bridge, and the host should route to it", p.Name)
	case bridge.Index != 0 && host.Master != bridge.Index:
		found.add("port %s is not on bridge %s", p.Name, p.Bridge)
	}
	if !host.Up() {
		found.add("port %s is down", p.Name)
	}
	switch {
	case p.MTU != 0 && host.MTU != p.MTU:
		found.add("port %s has MTU %d: want %d", p.Name, host.MTU, p.MTU)
	case bridge.Index != 0 && host.MTU > bridge.MTU && bridge.Alias != ownBridge: // that one follows the pools: the container lags
		found.add("port %s has MTU %d: want at most the bridge's, %d", p.Name, host.MTU, bridge.MTU)
	}
}

// checkInside tolerates what a later plugin of the chain may have done: a smaller MTU, routes in another table, and routes of its
// own in place of ours.
func checkInside(found *faults, p *Port, in *inside, host rtnl.Link) {
	switch {
	case in.link.Index == 0:
		found.add("interface %s does not exist in the container", p.Interface)
		return
	case host.Index != 0 && in.name == "":
		found.add("interface %s is not the other end of port %s", p.Interface, p.Name)
	case host.Index != 0 && in.name != p.Interface:
		found.add("interface %s is not the other end of port %s, which is called %s now", p.Interface, p.Name, in.name)
	}
	if !in.link.Up() {
		found.add("interface %s is down", p.Interface)
	}
	if most := max(host.MTU, p.ChainMTU); host.Index != 0 && in.link.MTU > most {
		found.add("interface %s has MTU %d: want at most %d", p.Interface, in.link.MTU, most)
	}
	if mac := p.mac(); in.link.MAC.String() != mac.String() {
		found.add("interface %s has MAC %v: want %v", p.Interface, in.link.MAC, mac)
	}
	for _, want := range p.Addresses {
		if !in.has(want) {
			found.add("interface %s lacks address %v", p.Interface, want)
		}
	}
	for _, want := range p.routes() {
		if standingOf(want, in.link.Index, in.routes) == absent {
			found.add("the route to %v via %v over %s is missing", want.To, want.Via, p.Interface)
		}
	}
}
