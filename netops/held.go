package netops

import (
	"time"

	"golang.org/x/sys/unix"
)

// holdings are the addresses of a link and the routes that lead over it, as they were at some time.
type holdings struct {
	index     int
	at        time.Time
	addresses []address
	routes    []route
}

func holdingsOf(s *socket, l link) (h holdings, err error) {
	h.index, h.at = l.index, time.Now()
	if h.addresses, err = addressesOf(s, unix.AF_UNSPEC, l.index); err != nil {
		return h, err
	}
	all, err := routes(s)
	for _, r := range all {
		if r.leadsOver(l.index) && !r.object {
			h.routes = append(h.routes, r)
		}
	}
	return h, err
}

// giveBack puts on a bridge what the host had on it before it ended or was down. What the kernel refuses, since it is there
// again or leads nowhere any more, is left out.
func giveBack(s *socket, h holdings, bridge link) {
	passed := uint32(time.Since(h.at) / time.Second)
	for _, a := range h.addresses {
		if a.proto == placed {
			continue // what is ours is given by the present configuration
		}
		if lifetime, left := shortened(a.lifetime, passed); left {
			a.lifetime = lifetime
			_ = s.do(putAddress(bridge.index, a, "give the bridge its address back"))
		}
	}
	for _, direct := range [...]bool{true, false} {
		for _, r := range h.routes {
			if r.via.IsValid() != direct {
				_ = s.do(appendRoute(r.over(h.index, bridge.index), "give the bridge its route back"))
			}
		}
	}
}

// shortened is what is left of an address's lifetime (struct ifa_cacheinfo) after some seconds.
func shortened(cacheinfo []byte, passed uint32) (left []byte, any bool) {
	if len(cacheinfo) < 8 {
		return cacheinfo, true
	}
	left = append(left, cacheinfo...)
	for i, field := range [...]int{0, 4} { // preferred, valid
		is := native.Uint32(left[field:])
		switch {
		case is == forever:
		case is > passed:
			native.PutUint32(left[field:], is-passed)
		case i == 0:
			native.PutUint32(left[field:], 0)
		default:
			return nil, false
		}
	}
	return left, true
}

// forever is a lifetime without an end (RFC 4861, section 4.6.2).
const forever = 1<<32 - 1

// ends reports whether an address's lifetime is bounded: somebody has to renew it, as a DHCP client does.
func (a *address) ends() bool {
	return len(a.lifetime) >= 8 && native.Uint32(a.lifetime[4:]) != forever
}
