package netops

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// setNeighbours makes a device's neighbours and forwarding entries those of other nodes. What is too much is only dropped with drop: as
// long as routes lead there it has to stay.
func setNeighbours(s *rtnl.Socket, index int, nodes map[netip.Addr]bool, v6, drop bool) error {
	want := map[rtnl.Neighbour]bool{}
	for a := range nodes {
		mac := tunnelMAC(a)
		want[rtnl.Neighbour{Address: a, MAC: mac, Forward: true, Lasts: true}] = true
		if a.Is4() {
			want[rtnl.Neighbour{Address: a, MAC: mac, Lasts: true}] = true
		}
		if v6 {
			want[rtnl.Neighbour{Address: tunnelLinkLocal(a), MAC: mac, Lasts: true}] = true
		}
	}
	held, err := rtnl.NeighboursOf(s, index)
	if err != nil {
		return err
	}
	var changes []rtnl.Request
	for _, n := range held {
		switch {
		case want[n]:
			delete(want, n)
		case drop && n.Lasts:
			changes = append(changes, rtnl.DropNeighbour(index, n))
		}
	}
	for n := range want {
		changes = append(changes, rtnl.SetNeighbour(index, n))
	}
	outcomes, err := s.Each(changes...)
	for i, outcome := range outcomes {
		if outcome != nil && !errors.Is(outcome, unix.ENOENT) {
			err = errors.Join(err, fmt.Errorf("%s: %w", changes[i].What, outcome))
		}
	}
	return err
}
