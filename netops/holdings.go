package netops

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// holdings are the addresses of a link and the routes over it at one time.
type holdings struct {
	index     int
	at        time.Time
	addresses []rtnl.Address
	routes    []rtnl.Route
}

func holdingsOf(s *rtnl.Socket, l rtnl.Link) (h holdings, err error) {
	all, err := rtnl.Routes(s)
	if err != nil {
		return h, err
	}
	return holdingsAmong(s, l, all)
}

// holdingsAmong picks the link's routes among all.
func holdingsAmong(s *rtnl.Socket, l rtnl.Link, all []rtnl.Route) (h holdings, err error) {
	h.index, h.at = l.Index, time.Now()
	h.addresses, err = rtnl.AddressesOf(s, unix.AF_UNSPEC, l.Index)
	for _, r := range all {
		if r.LeadsOver(l.Index) && !r.Object {
			h.routes = append(h.routes, r)
		}
	}
	return h, err
}

// giveBack restores on a bridge what the host had on it before it ended or was down. What the kernel refuses, because it exists
// again or its gateway is gone, is left out.
func giveBack(s *rtnl.Socket, h holdings, bridge rtnl.Link) {
	passed := uint32(time.Since(h.at) / time.Second)
	for _, a := range h.addresses {
		if a.Proto == rtnl.OurProto {
			continue // ours come from the present configuration
		}
		if lifetime, left := rtnl.Shortened(a.Lifetime, passed); left {
			a.Lifetime = lifetime
			_ = s.Do(rtnl.PutAddress(bridge.Index, a, "give the bridge its address back"))
		}
	}
	for _, direct := range [...]bool{true, false} {
		for _, r := range h.routes {
			if r.Via.IsValid() != direct && r.Proto != rtnl.OurProto {
				_ = s.Do(r.AppendOver(h.index, bridge.Index, "give the bridge its route back"))
			}
		}
	}
}
