package netops

import (
	"errors"
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// HostFaults compares the host with a bridge's configuration and its ports. A port that does not exist is no fault of the host.
// The next EnsureBridge reads again what is wrong.
func (k *Kernel) HostFaults(b Bridge, ports []string) ([]HostFault, error) {
	k.bridges.comparing(b.Name)
	x := examination{k: k, want: b}
	err := k.host.With(func(s *rtnl.Socket) error { return x.run(s, ports) })
	if err == nil {
		err = rtnl.Within(k.home, func() error { return errors.Join(x.forwarding(), x.services()) })
	}
	if err == nil {
		err = x.masquerading()
	}
	if err != nil {
		return nil, fmt.Errorf("netops: look at bridge %s: %w", b.Name, err)
	}
	if len(x.found) > 0 {
		k.bridges.invalidate(b.Name)
	}
	return x.found, nil
}

// run compares the bridge, its addresses, ports and uplink.
func (x *examination) run(s *rtnl.Socket, ports []string) error {
	all, err := rtnl.Links(s)
	if err != nil {
		return err
	}
	x.byName, x.names = map[string]rtnl.Link{}, map[int]string{}
	for _, l := range all {
		x.byName[l.Name], x.names[l.Index] = l, l.Name
	}
	name := x.want.Name
	is, there := x.byName[name]
	switch {
	case !there:
		x.add("bridge-gone", "bridge %s does not exist: somebody has deleted it", name)
		return nil
	case is.Kind != "bridge":
		x.report("bridge-taken", fmt.Sprintf("remove the link %[1]s, or rename it: ip link delete %[1]s", name),
			"the link %s is no bridge: it is of kind %q", name, is.Kind)
		return nil
	}
	x.bridge = is
	if !is.Up() {
		x.add("bridge-down", "bridge %s is down", name)
	}
	if err := x.addresses(s); err != nil {
		return err
	}
	if err := x.uplink(s); err != nil {
		return err
	}
	x.ports(ports)
	x.fullness(all)
	return nil
}

func (x *examination) addresses(s *rtnl.Socket) error {
	routes, err := rtnl.Routes(s)
	if err != nil {
		return err
	}
	had, err := holdingsAmong(s, x.bridge, routes)
	if err != nil {
		return err
	}
	for _, want := range x.want.Addresses {
		if !slices.ContainsFunc(had.addresses, func(a rtnl.Address) bool { return a.Prefix == want }) {
			x.add("gateway-gone", "bridge %s lacks %v, its containers' gateway", x.want.Name, want)
		}
	}
	for _, a := range had.addresses {
		if x.want.Uplink != "" && a.Proto == rtnl.OurProto && !slices.Contains(x.want.Addresses, a.Prefix) {
			x.add("gateway-left", "bridge %s has an uplink, and still %v, which this node gave it when it had none", x.want.Name, a.Prefix)
		}
	}
	x.subnets(had.addresses, routes)
	for _, a := range had.addresses {
		x.lease(a)
	}
	if len(x.found) == 0 {
		x.k.bridges.remember(x.want.Name, had)
	}
	return nil
}
