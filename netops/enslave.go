package netops

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// enslave makes the NIC a port of the bridge, and moves what the host has on it. A step that fails has all before it
// undone; one that a call did before it was killed counts as done.
func (k *Kernel) enslave(s *rtnl.Socket, nic, bridge rtnl.Link) error {
	if nic.Master != 0 && nic.Master != bridge.Index {
		return fmt.Errorf("it is a port of another link already (index %d)", nic.Master)
	}
	move, err := moveSteps(s, nic, bridge)
	if err != nil {
		return err
	}
	join := joinSteps(nic, bridge)
	if len(join)+len(move) == 0 {
		return nil
	}
	if err := rtnl.Within(k.home, func() error { return sysctl.InheritV6(nic.Name, bridge.Name) }); err != nil {
		return err
	}
	steps := slices.Concat(join, move)
	if k.speaksV6 && nic.MTU >= sysctl.MinimumV6 {
		steps = append(steps, rtnl.Step{Do: rtnl.ChangeLink(nic.Index, "keep it without an address", 0, rtnl.NoLinkLocal())})
	}
	return rtnl.CarryOut(s, steps)
}

// joinSteps give the NIC's MAC to the bridge, so that the network finds the host where it was, and join the two.
func joinSteps(nic, bridge rtnl.Link) (steps []rtnl.Step) {
	if nic.MAC.String() != bridge.MAC.String() {
		steps = append(steps, rtnl.Step{
			Do:   rtnl.ChangeLink(bridge.Index, "give the bridge its MAC", 0, rtnl.WithMAC(nic.MAC)),
			Undo: rtnl.ChangeLink(bridge.Index, "undo", 0, rtnl.WithMAC(bridge.MAC)),
		})
	}
	if nic.Master == 0 {
		steps = append(steps, rtnl.Step{
			Do:   rtnl.ChangeLink(nic.Index, "put it into the bridge", 0, rtnl.WithMaster(bridge.Index)),
			Undo: rtnl.ChangeLink(nic.Index, "undo", 0, rtnl.WithMaster(0)),
		})
		if !nic.Up() { // once it is a port, who takes it down means it
			steps = append(steps, rtnl.Step{Do: rtnl.ChangeLink(nic.Index, "bring it up", unix.IFF_UP)})
		}
	}
	return steps
}

// moveSteps add to the bridge what is to move from the NIC, and only then take it from the NIC. In between the host is
// reached by either: what comes in reaches the bridge, where the kernel accepts the addresses of all its links, and
// what goes out by the NIC still does.
func moveSteps(s *rtnl.Socket, nic, bridge rtnl.Link) ([]rtnl.Step, error) {
	has, err := holdingsOf(s, nic)
	if err != nil {
		return nil, err
	}
	if len(has.addresses) == 0 && len(has.routes) == 0 {
		return nil, nil
	}
	there, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, bridge.Index)
	if err != nil {
		return nil, err
	}
	over, err := rtnl.RoutesOver(s, nic.Index)
	if err != nil {
		return nil, err
	}
	addresses, routes := moving(nic.Master == bridge.Index, has.addresses, over, there)
	if bridge.MTU < sysctl.MinimumV6 {
		// What the kernel gave the NIC by itself stays there; a bridge without IPv6 needs none.
		local := func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }
		addresses = slices.DeleteFunc(addresses, func(a rtnl.Address) bool { return local(a.Prefix.Addr()) })
		routes = slices.DeleteFunc(routes, func(r rtnl.Route) bool { return local(r.To.Addr()) })
	}
	return append(gainSteps(addresses, routes, nic, bridge, there), loseSteps(addresses, routes, nic)...), nil
}

// gainSteps add to the bridge what the NIC has: first what other routes lead over.
func gainSteps(addresses []rtnl.Address, routes []rtnl.Route, nic, bridge rtnl.Link, there []rtnl.Address) (steps []rtnl.Step) {
	for _, a := range addresses {
		put := rtnl.PutAddress(bridge.Index, a, fmt.Sprintf("add address %v to the bridge", a.Prefix))
		undo := rtnl.DropAddress(bridge.Index, a, "undo")
		if i := indexOf(there, a.Prefix); i >= 0 { // a lease that was renewed: its new time counts
			put.Replacing()
			undo = rtnl.PutAddress(bridge.Index, there[i], "undo")
			undo.Replacing()
		}
		steps = append(steps, rtnl.Step{Do: put, Undo: undo})
	}
	for _, r := range routes {
		steps = append(steps, rtnl.Step{
			Do:   r.AppendOver(nic.Index, bridge.Index, fmt.Sprintf("add route to %v to the bridge", r.To)),
			Undo: r.DropOver(nic.Index, bridge.Index, "undo"),
		})
	}
	return steps
}

// loseSteps go the other way round: an IPv4 primary address would take its secondaries with it, and a route without
// a gateway those that lead over it.
func loseSteps(addresses []rtnl.Address, routes []rtnl.Route, nic rtnl.Link) (steps []rtnl.Step) {
	for _, r := range slices.Backward(routes) {
		steps = append(steps, rtnl.Step{
			Do:   r.DropOver(nic.Index, nic.Index, fmt.Sprintf("take route to %v from it", r.To)),
			Undo: r.AppendOver(nic.Index, nic.Index, "undo"),
		})
	}
	for _, a := range slices.Backward(addresses) {
		steps = append(steps, rtnl.Step{
			Do:   rtnl.DropAddress(nic.Index, a, fmt.Sprintf("take address %v from it", a.Prefix)),
			Undo: rtnl.PutAddress(nic.Index, a, "undo"),
		})
	}
	return steps
}
