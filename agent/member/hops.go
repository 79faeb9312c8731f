package member

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/netops"
)

// hopsSettle is how long after a change of the host's addresses this node looks for its own: with a new address comes a new default route,
// a moment later.
const hopsSettle = 3 * time.Second

// AddressChanged has this node look soon whether others reach it by other addresses now.
func (k *Keeper) AddressChanged() {
	if len(k.Node.Hops) == 0 {
		time.AfterFunc(hopsSettle, k.resettle.Raise)
	}
}

// hops are the addresses by which other nodes reach this one. Where they were not given they are found; a family of which the host has
// none just now keeps its former one.
func (k *Keeper) hops(former []netip.Addr) []netip.Addr {
	if len(k.Node.Hops) > 0 {
		k.reportForeignHops()
		return k.Node.Hops
	}
	found, err := k.Kernel().NodeAddresses()
	if err != nil {
		return former // an error is not an absence: the next look tells
	}
	for _, a := range former {
		if !slices.ContainsFunc(found, func(b netip.Addr) bool { return a.Is4() == b.Is4() }) {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return found
}

// hopForeign is the kind of the finding that an address given as this node's is on no interface of it.
const hopForeign = "node-address-foreign"

// reportForeignHops tells of given addresses that this host does not have.
func (k *Keeper) reportForeignHops() {
	held, err := k.Kernel().HostAddresses()
	if err != nil {
		return
	}
	var foreign []string
	for _, hop := range k.Node.Hops {
		if slices.ContainsFunc(held, func(h netops.HostAddress) bool { return h.Address == hop }) {
			continue
		}
		foreign = append(foreign, hop.String())
		k.Findings.Set(hopForeign, hop.String(), fmt.Sprintf("--node-address says that this node has %v, and none of its interfaces does: other "+
			"nodes send what is for containers of routed pools there", hop),
			"correct --node-address (BERTH_NODE_ADDRESS) and restart berthd, or leave it out: then the address is found")
	}
	k.Findings.Keep(hopForeign, foreign...)
}

// shown is the address under which people see the node.
func (k *Keeper) shown(hops []netip.Addr) string {
	if k.Address != "" || len(hops) == 0 {
		return k.Address
	}
	return hops[0].String()
}
