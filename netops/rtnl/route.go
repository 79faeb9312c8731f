package rtnl

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Route is a route as the kernel reports it. Attributes without a field stay in Body.
type Route struct {
	family uint8
	Table  int
	Proto  uint8 // who put it (rtm_protocol): OurProto, or another's number
	kind   uint8 // RTN_UNICAST …
	scope  uint8
	metric int
	Source netip.Addr // that it prefers
	To     netip.Prefix
	Via    netip.Addr
	flags  uint32
	Index  int    // of the link that it leads over; 0: none, or several
	Object bool   // it uses a nexthop object (ip-nexthop(8))
	Body   []byte // the whole message's
}

// parseRoute reads the body of RTM_NEWROUTE (rtnetlink(7)), without Body.
func parseRoute(body []byte) Route {
	if len(body) < unix.SizeofRtMsg {
		return Route{}
	}
	r := Route{
		family: body[0], Table: int(body[4]), Proto: body[5], scope: body[6], kind: body[7],
		flags: native.Uint32(body[8:]),
	}
	to := netip.IPv4Unspecified()
	if r.family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	for kind, value := range Attributes(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(value)
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(value)
		case unix.RTA_VIA: // of another family: struct rtvia
			if len(value) > 2 {
				r.Via, _ = netip.AddrFromSlice(value[2:])
			}
		case unix.RTA_OIF:
			r.Index = number(value)
		case rtaNexthopID:
			r.Object = true
		case unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(value)
		case unix.RTA_PRIORITY:
			r.metric = number(value)
		case unix.RTA_TABLE:
			r.Table = number(value)
		}
	}
	r.To = netip.PrefixFrom(to, int(body[1]))
	return r
}

const rtaNexthopID = 30 // RTA_NH_ID

// Routes lists the unicast routes of both families, of all tables but the kernel's own table of local addresses.
func Routes(s *Socket) ([]Route, error) { return routesOf(s, unix.RTPROT_UNSPEC) }

// OurRoutes lists those that Berth has put. The kernel (Linux 4.20) looks through the others itself.
func OurRoutes(s *Socket) (all []Route, err error) {
	all, err = routesOf(s, OurProto)
	return slices.DeleteFunc(all, func(r Route) bool { return r.Proto != OurProto }), err
}

// routesOf lists those of a protocol, or more where the kernel does not pick.
func routesOf(s *Socket, protocol uint8) (all []Route, err error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		header := &nl.RtMsg{}
		header.Family, header.Protocol = family, protocol
		before := len(all)
		err = s.dump(unix.RTM_GETROUTE, "list routes", func() { all = all[:before] }, func(_ uint16, body []byte) {
			r := parseRoute(body)
			cloned := r.flags&unix.RTM_F_CLONED != 0
			// A kernel without the family answers for all families.
			if r.family == family && r.Table != unix.RT_TABLE_LOCAL && r.kind == unix.RTN_UNICAST && !cloned {
				r.Body = append([]byte(nil), body...)
				all = append(all, r)
			}
		}, header)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Nearer reports whether the kernel takes the route rather than another to the same prefix.
func (r *Route) Nearer(than *Route) bool { return r.metric < than.metric }

// PutRoute asks for a route of the main table over a link, via a neighbour or, without one, to the link itself.
func PutRoute(index int, to netip.Prefix, via netip.Addr, what string) Request {
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

// Ours marks a route that is asked for as put by Berth. As a deletion it takes no other's.
func (r Request) Ours() { r.Data[0].(*nl.RtMsg).Protocol = OurProto }

// OnLink has the neighbour of a route that is asked for reached over the link, though no subnet of the link contains it.
func (r Request) OnLink() { r.Data[0].(*nl.RtMsg).Flags |= unix.RTNH_F_ONLINK }

// RemoveRoute asks for the end of a route that PutRoute has put, and of no other.
func RemoveRoute(index int, to netip.Prefix, via netip.Addr, what string) Request {
	remove := PutRoute(index, to, via, what)
	remove.Type, remove.Flags = unix.RTM_DELROUTE, unix.NLM_F_REQUEST|unix.NLM_F_ACK
	return remove
}
