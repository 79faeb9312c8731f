package netops

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A route is one as the kernel tells it. What is not told apart here stays in its body.
type route struct {
	family uint8
	table  int
	kind   uint8 // RTN_UNICAST …
	scope  uint8
	to     netip.Prefix
	via    netip.Addr
	flags  uint32
	index  int    // of the link that it leads over; 0: none, or several
	object bool   // it uses a nexthop object (ip-nexthop(8))
	body   []byte // the whole message's
}

// parseRoute reads the body of RTM_NEWROUTE (rtnetlink(7)).
func parseRoute(body []byte) route {
	if len(body) < unix.SizeofRtMsg {
		return route{}
	}
	r := route{
		family: body[0], table: int(body[4]), scope: body[6], kind: body[7],
		flags: native.Uint32(body[8:]), body: append([]byte(nil), body...),
	}
	to := netip.IPv4Unspecified()
	if r.family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	for kind, value := range attributes(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			r.via, _ = netip.AddrFromSlice(value)
		case unix.RTA_OIF:
			r.index = number(value)
		case rtaNexthopID:
			r.object = true
		case unix.RTA_TABLE:
			r.table = number(value)
		}
	}
	r.to = netip.PrefixFrom(to, int(body[1]))
	return r
}

const rtaNexthopID = 30 // RTA_NH_ID

// routes lists the unicast routes of both families, of all tables but the kernel's own table of local addresses.
func routes(s *socket) (all []route, err error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		header := &nl.RtMsg{}
		header.Family = family
		before := len(all)
		err = s.dump(unix.RTM_GETROUTE, "list routes", func() { all = all[:before] }, func(_ uint16, body []byte) {
			r := parseRoute(body)
			cloned := r.flags&unix.RTM_F_CLONED != 0
			// A kernel without the family answers for all families.
			if r.family == family && r.table != unix.RT_TABLE_LOCAL && r.kind == unix.RTN_UNICAST && !cloned {
				all = append(all, r)
			}
		}, header)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// putRoute asks for a route of the main table over a link, via a neighbour or, without one, to the link itself.
func putRoute(index int, to netip.Prefix, via netip.Addr, what string) request {
	header := nl.NewRtMsg()
	header.Family, header.Dst_len, header.Protocol = familyOf(to.Addr()), uint8(to.Bits()), unix.RTPROT_STATIC
	header.Scope = unix.RT_SCOPE_LINK
	r := ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, what, header,
		addressAttr(unix.RTA_DST, to.Masked().Addr()), numberAttr(unix.RTA_OIF, index))
	if via.IsValid() {
		header.Scope = unix.RT_SCOPE_UNIVERSE
		r.AddData(addressAttr(unix.RTA_GATEWAY, via))
	}
	return r
}

// putWay asks for a route of a port. A neighbour that no subnet of the port contains is reached over the link where the port
// says so.
func putWay(p *Port, index int, r Route, what string) request {
	put := putRoute(index, r.To, r.Via, what)
	linkLocal := r.Via.Is6() && r.Via.IsLinkLocalUnicast() // is on the link in any case
	if p.OnLink && r.Via.IsValid() && !linkLocal && !p.reaches(r.Via) {
		put.Data[0].(*nl.RtMsg).Flags |= unix.RTNH_F_ONLINK
	}
	return put
}
