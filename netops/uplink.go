package netops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// findUplink looks the NIC up that is to be the bridge's port; none is wanted: the zero link. One that was its port already
// may have been renamed since; a name that never was one is an error.
func findUplink(s *socket, b Bridge, was bool) (link, error) {
	if b.Uplink == "" {
		return link{}, nil
	}
	nic, err := linkNamed(s, b.Uplink)
	if errors.Is(err, unix.ENODEV) && was {
		nic, err = uplinkOf(s, b.Name)
	}
	switch {
	case errors.Is(err, unix.ENODEV):
		return nic, fmt.Errorf("uplink %s does not exist: want a NIC of this host", b.Uplink)
	case err != nil:
		return nic, err
	case nic.mtu < b.MTU:
		return nic, fmt.Errorf("uplink %s has MTU %d: want at least the bridge's, %d", b.Uplink, nic.mtu, b.MTU)
	}
	return nic, nil
}

// Uplink is the name of a bridge's uplink, as the kernel shows it: the port whose MAC the bridge has. None, or no such bridge:
// empty.
func (k *Kernel) Uplink(bridge string) (name string, err error) {
	err = k.host.with(func(s *socket) error {
		nic, err := uplinkOf(s, bridge)
		name = nic.name
		return err
	})
	if errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("netops: the uplink of bridge %s: %w", bridge, err)
	}
	return name, nil
}

// uplinkOf looks for the port whose MAC the bridge has, whatever it is called; unix.ENODEV: there is none.
func uplinkOf(s *socket, name string) (nic link, err error) {
	bridge, err := linkNamed(s, name)
	if err != nil {
		return nic, err
	}
	all, err := links(s)
	if err != nil {
		return nic, err
	}
	for _, l := range all {
		if l.master == bridge.index && l.mac.String() == bridge.mac.String() && !strings.HasPrefix(l.name, Prefix) {
			return l, nil
		}
	}
	return nic, unix.ENODEV
}

// A step is one thing that is done to the host, and what undoes it.
type step struct{ do, undo request }

// enslave makes the NIC a port of the bridge, and moves what the host has on it. A step that fails has all before it
// undone; one that a call did before it was killed counts as done.
func (k *Kernel) enslave(s *socket, nic, bridge link) error {
	if nic.master != 0 && nic.master != bridge.index {
		return fmt.Errorf("it is a port of another link already (index %d)", nic.master)
	}
	move, err := moveSteps(s, nic, bridge)
	if err != nil {
		return err
	}
	join := joinSteps(nic, bridge)
	if len(join)+len(move) == 0 {
		return nil
	}
	if err := within(k.home, func() error { return inheritV6(nic.name, bridge.name) }); err != nil {
		return err
	}
	steps := slices.Concat(join, move)
	if k.speaksV6 && nic.mtu >= minimumV6 {
		steps = append(steps, step{do: changeLink(nic.index, "keep it without an address", 0, noLinkLocal())})
	}
	return carryOut(s, steps)
}

// joinSteps give the NIC's MAC to the bridge, so that the network finds the host where it was, and join the two.
func joinSteps(nic, bridge link) (steps []step) {
	if nic.mac.String() != bridge.mac.String() {
		steps = append(steps, step{
			changeLink(bridge.index, "give the bridge its MAC", 0, nl.NewRtAttr(unix.IFLA_ADDRESS, nic.mac)),
			changeLink(bridge.index, "undo", 0, nl.NewRtAttr(unix.IFLA_ADDRESS, bridge.mac))})
	}
	if nic.master == 0 {
		steps = append(steps, step{
			changeLink(nic.index, "put it into the bridge", 0, numberAttr(unix.IFLA_MASTER, bridge.index)),
			changeLink(nic.index, "undo", 0, numberAttr(unix.IFLA_MASTER, 0))})
		if !nic.up() { // once it is a port, who takes it down means it
			steps = append(steps, step{do: changeLink(nic.index, "bring it up", unix.IFF_UP)})
		}
	}
	return steps
}

// moveSteps add to the bridge what is to move from the NIC, and only then take it from the NIC. In between the host is
// reached by either: what comes in reaches the bridge, where the kernel accepts the addresses of all its links, and
// what goes out by the NIC still does.
func moveSteps(s *socket, nic, bridge link) ([]step, error) {
	has, err := holdingsOf(s, nic)
	if err != nil {
		return nil, err
	}
	if len(has.addresses) == 0 && len(has.routes) == 0 {
		return nil, nil
	}
	there, err := addressesOf(s, unix.AF_UNSPEC, bridge.index)
	if err != nil {
		return nil, err
	}
	over, err := routesOver(s, nic.index)
	if err != nil {
		return nil, err
	}
	addresses, routes := moving(nic.master == bridge.index, has.addresses, over, there)
	if bridge.mtu < minimumV6 {
		// What the kernel gave the NIC by itself stays there; a bridge without IPv6 needs none.
		local := func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }
		addresses = slices.DeleteFunc(addresses, func(a address) bool { return local(a.prefix.Addr()) })
		routes = slices.DeleteFunc(routes, func(r route) bool { return local(r.to.Addr()) })
	}
	return append(gainSteps(addresses, routes, nic, bridge, there), loseSteps(addresses, routes, nic)...), nil
}

// gainSteps add to the bridge what the NIC has: first what other routes lead over.
func gainSteps(addresses []address, routes []route, nic, bridge link, there []address) (steps []step) {
	for _, a := range addresses {
		put := putAddress(bridge.index, a, fmt.Sprintf("add address %v to the bridge", a.prefix))
		undo := dropAddress(bridge.index, a, "undo")
		if i := indexOf(there, a.prefix); i >= 0 { // a lease that was renewed: its new time counts
			put.Flags = put.Flags&^unix.NLM_F_EXCL | unix.NLM_F_REPLACE
			undo = putAddress(bridge.index, there[i], "undo")
			undo.Flags = put.Flags
		}
		steps = append(steps, step{put, undo})
	}
	for _, r := range routes {
		moved := r.over(nic.index, bridge.index)
		steps = append(steps, step{
			appendRoute(moved, fmt.Sprintf("add route to %v to the bridge", r.to)),
			dropRoute(moved, "undo")})
	}
	return steps
}

// loseSteps go the other way round: an IPv4 primary address would take its secondaries with it, and a route without
// a gateway those that lead over it.
func loseSteps(addresses []address, routes []route, nic link) (steps []step) {
	for _, r := range slices.Backward(routes) {
		body := r.over(nic.index, nic.index)
		steps = append(steps, step{dropRoute(body, fmt.Sprintf("take route to %v from it", r.to)), appendRoute(body, "undo")})
	}
	for _, a := range slices.Backward(addresses) {
		steps = append(steps, step{
			dropAddress(nic.index, a, fmt.Sprintf("take address %v from it", a.prefix)),
			putAddress(nic.index, a, "undo")})
	}
	return steps
}

// carryOut does the steps in order, or none of them. All are undone, whether they were done or not: with an address the
// kernel adds routes by itself, and it does not take all of them away again.
func carryOut(s *socket, steps []step) error {
	for _, step := range steps {
		err := s.do(step.do)
		if err == nil || already(step.do, err) {
			continue
		}
		for _, step := range slices.Backward(steps) {
			if step.undo.NetlinkRequest == nil {
				continue
			}
			if back := s.do(step.undo); back != nil && !already(step.undo, back) {
				err = errors.Join(err, back)
			}
		}
		return err
	}
	return nil
}

// already reports that what was to be added is there, or that what was to be taken away is not.
func already(r request, err error) bool {
	switch r.Type {
	case unix.RTM_NEWADDR, unix.RTM_NEWROUTE:
		return errors.Is(err, unix.EEXIST)
	case unix.RTM_DELADDR:
		return errors.Is(err, unix.EADDRNOTAVAIL)
	case unix.RTM_DELROUTE:
		return errors.Is(err, unix.ESRCH)
	}
	return false
}

// routesOver lists the routes that lead over a link, those without a gateway first.
func routesOver(s *socket, index int) ([]route, error) {
	all, err := routes(s)
	if err != nil {
		return nil, err
	}
	var over []route
	for _, r := range all {
		if !r.leadsOver(index) {
			continue
		}
		if r.object {
			return nil, fmt.Errorf("the route to %v uses a nexthop object, which cannot be moved: want a plain route", r.to)
		}
		over = append(over, r)
	}
	slices.SortStableFunc(over, func(a, b route) int { return int(b.scope) - int(a.scope) })
	return over, nil
}
