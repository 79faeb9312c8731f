package faults

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/e2e/lab"
)

// A Mode is how a run's pool connects containers, and with it how it is found out who has an address.
type Mode struct {
	Name string
	// Subnet says that the pool is the network's subnet: it has a gateway, and addresses that no container can have.
	Subnet bool
	// Routes says that nodes lead to each other's containers, so that their routes are judged.
	Routes  bool
	network func() *lab.Network
	wire    func(w *world) watch.Wire
}

// Modes are all of them; the first is that of a run that names none.
var Modes = []Mode{
	// The node's NIC is the bridge's uplink, so that the watcher on the switch reaches every container.
	{Name: "flat", Subnet: true, network: lab.Berth, wire: func(*world) watch.Wire { return watch.Neighbours{} }},
	{Name: "routed", Routes: true, network: lab.Plain, wire: (*world).routers},
}

// ModeNamed gives the mode of a name.
func ModeNamed(name string) (Mode, error) {
	var known []string
	for _, m := range Modes {
		if m.Name == name {
			return m, nil
		}
		known = append(known, m.Name)
	}
	return Mode{}, fmt.Errorf("faults: -mode %q: want one of %s", name, strings.Join(known, ", "))
}

// routers is the wire of a watcher that asks for each address by the route of each node.
func (w *world) routers() watch.Wire {
	r := &watch.Routers{Seat: w.lab.Seat(), Who: w.marked}
	for _, h := range w.nodes {
		r.Nodes = append(r.Nodes, watch.Router{Name: h.Name, MAC: check.MAC(h.MAC())})
	}
	return r
}

// first is the first address of a pool that a container can have.
func (m Mode) first(pool netip.Prefix) netip.Addr {
	if m.Subnet {
		return pool.Addr().Next().Next() // the network's own, and its gateway
	}
	return pool.Addr()
}

// names are those of the nodes by whose routes the network is asked.
func (w *world) names() (all []string) {
	if w.mode.Routes {
		for _, h := range w.nodes {
			all = append(all, h.Name)
		}
		slices.Sort(all)
	}
	return all
}
