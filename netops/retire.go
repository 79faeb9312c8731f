package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// Retire takes off the host what EnsureBridge gave it and none of the bridges in use needs any more: routes over bridges, and rules that
// masquerade. What others put stays.
func (k *Kernel) Retire(used []Bridge) error {
	defer k.bridges.alone()()
	err := k.host.With(func(s *rtnl.Socket) error { return k.retireRoutes(s, used) })
	var masquerade []netip.Prefix
	for _, b := range used {
		masquerade = append(masquerade, b.Masquerade...)
	}
	ended, other := k.RetireMasquerade(masquerade)
	if ended {
		k.bridges.invalidate("")
	}
	if err = errors.Join(err, other); err != nil {
		return fmt.Errorf("netops: take away what no container needs: %w", err)
	}
	return nil
}

func (k *Kernel) retireRoutes(s *rtnl.Socket, used []Bridge) error {
	routes, err := rtnl.OurRoutes(s)
	if err != nil || len(routes) == 0 {
		return err
	}
	all, err := rtnl.Links(s)
	if err != nil {
		return err
	}
	for _, r := range routes {
		at := slices.IndexFunc(all, func(l rtnl.Link) bool { return l.Index == r.Index && l.Kind == "bridge" })
		if at < 0 || r.Via.IsValid() || needs(used, all[at].Name, r.To) {
			continue
		}
		k.bridges.invalidate(all[at].Name)
		remove := rtnl.RemoveRoute(r.Index, r.To, netip.Addr{}, fmt.Sprintf("remove route to %v over %s", r.To, all[at].Name))
		remove.Ours()
		if err := s.Ensure(remove); err != nil {
			return err
		}
	}
	return nil
}

// needs reports whether a bridge in use needs a route to a subnet.
func needs(used []Bridge, name string, subnet netip.Prefix) bool {
	return slices.ContainsFunc(used, func(b Bridge) bool {
		same := func(p netip.Prefix) bool { return p.Masked() == subnet }
		return b.Name == name && slices.ContainsFunc(b.Subnets, same)
	})
}
