package rtnl

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A nexthop of a route that has several: struct rtnexthop.
type nexthop []byte

func (h nexthop) index() int { return int(int32(native.Uint32(h[4:]))) }

// nexthops cuts RTA_MULTIPATH into its parts, which share value's memory.
func nexthops(value []byte) (all []nexthop) {
	for len(value) >= unix.SizeofRtNexthop {
		length := int(native.Uint16(value))
		if length < unix.SizeofRtNexthop || length > len(value) {
			return all
		}
		all = append(all, nexthop(value[:length]))
		value = value[min((length+3)&^3, len(value)):]
	}
	return all
}

// LeadsOver reports whether the route, or one of its nexthops, leads over a link.
func (r *Route) LeadsOver(index int) bool {
	if r.Index == index {
		return true
	}
	for kind, value := range Attributes(r.Body[unix.SizeofRtMsg:]) {
		if kind != unix.RTA_MULTIPATH {
			continue
		}
		for _, hop := range nexthops(value) {
			if hop.index() == index {
				return true
			}
		}
	}
	return false
}

// over is the route's body to ask for the same route over another link, or, from == to, for itself.
func (r *Route) over(from, to int) []byte {
	body := append([]byte(nil), r.Body[:unix.SizeofRtMsg]...)
	native.PutUint32(body[8:], native.Uint32(body[8:])&unix.RTNH_F_ONLINK) // other flags are states
	for kind, value := range Attributes(r.Body[unix.SizeofRtMsg:]) {
		value = append([]byte(nil), value...)
		switch kind {
		case unix.RTA_OIF:
			if number(value) == from {
				native.PutUint32(value, uint32(to))
			}
		case unix.RTA_MULTIPATH:
			for _, hop := range nexthops(value) {
				hop[2] &= unix.RTNH_F_ONLINK
				if hop.index() == from {
					native.PutUint32(hop[4:], uint32(to))
				}
			}
		case unix.RTA_CACHEINFO:
			if kind, value = unix.RTA_EXPIRES, secondsLeft(value); value == nil {
				continue
			}
		}
		body = native.AppendUint16(body, uint16(unix.SizeofRtAttr+len(value)))
		body = native.AppendUint16(body, kind)
		body = append(body, value...)
		for len(body)%unix.RTA_ALIGNTO != 0 {
			body = append(body, 0)
		}
	}
	return body
}

// secondsLeft is RTA_EXPIRES for a struct rta_cacheinfo, whose third field counts hundredths; nil: it never expires.
func secondsLeft(cacheinfo []byte) []byte {
	if len(cacheinfo) < 12 {
		return nil
	}
	left := int32(native.Uint32(cacheinfo[8:]))
	if left <= 0 {
		return nil
	}
	return native.AppendUint32(nil, uint32(left+99)/100)
}

// RoutesOver lists the routes that lead over a link, those without a gateway first.
func RoutesOver(s *Socket, index int) ([]Route, error) {
	all, err := Routes(s)
	if err != nil {
		return nil, err
	}
	var over []Route
	for _, r := range all {
		if !r.LeadsOver(index) {
			continue
		}
		if r.Object {
			return nil, fmt.Errorf("the route to %v uses a nexthop object, which cannot be moved: want a plain route", r.To)
		}
		over = append(over, r)
	}
	slices.SortStableFunc(over, func(a, b Route) int { return int(b.scope) - int(a.scope) })
	return over, nil
}

// AppendOver asks for the same route over another link, or, from == to, for itself, behind others to the same prefix: those are
// used until they are taken away.
func (r *Route) AppendOver(from, to int, what string) Request {
	add := ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, what)
	add.AddRawData(r.over(from, to))
	return add
}

// DropOver asks for the end of what AppendOver has put.
func (r *Route) DropOver(from, to int, what string) Request {
	drop := ask(unix.RTM_DELROUTE, 0, what)
	drop.AddRawData(r.over(from, to))
	return drop
}
