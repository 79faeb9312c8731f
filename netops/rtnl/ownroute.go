package rtnl

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RouteProto is the protocol number of every route that is put for routed pools: 'b'. A line "98 berth" in /etc/iproute2/rt_protos
// has ip-route(8) say "proto berth".
const RouteProto = 'b'

// OwnTables are the tables besides the main one in which routes are put, for what OwnRules concern.
var OwnTables = [...]int{98, 99}

func isOwnTable(table int) bool { return slices.Contains(OwnTables[:], table) }

// An OwnRoute is a route of the main table, or of one of OwnTables, with protocol RouteProto: it leads via a neighbour, or to the link
// itself, or refuses what it is asked for.
type OwnRoute struct {
	Table   int // 0: the main one
	To      netip.Prefix
	Metric  int
	Via     netip.Addr // of IPv4's or IPv6's family, whatever To's is (IPv6 for IPv4: Linux 5.2)
	Index   int        // of the link that it leads over; 0 in what is asked for: the link of the neighbour
	OnLink  bool       // the neighbour is reached over the link, though no subnet of it contains the neighbour. Not told of IPv6's
	Refuses bool       // "unreachable"
}

// OwnRoutes lists the routes of both families with protocol RouteProto.
func OwnRoutes(s *Socket) (all []OwnRoute, err error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		header := &nl.RtMsg{}
		header.Family, header.Protocol = family, RouteProto // kernels since 4.20 list those alone
		before := len(all)
		err = s.dump(unix.RTM_GETROUTE, "list routes", func() { all = all[:before] }, func(_ uint16, body []byte) {
			r := parseRoute(body)
			if own, is := r.own(); is && r.family == family { // a kernel without the family answers for all families
				all = append(all, own)
			}
		}, header)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ParseOwnRoute reads the body of RTM_NEWROUTE or RTM_DELROUTE; false: it is another's route.
func ParseOwnRoute(body []byte) (OwnRoute, bool) {
	const protocol = 5 // in struct rtmsg
	if len(body) < unix.SizeofRtMsg || body[protocol] != RouteProto {
		return OwnRoute{}, false
	}
	r := parseRoute(body)
	return r.own()
}

func (r *Route) own() (OwnRoute, bool) {
	o := OwnRoute{To: r.To, Metric: r.metric, Via: r.Via, Index: r.Index, Refuses: r.kind == unix.RTN_UNREACHABLE}
	o.OnLink = r.family == unix.AF_INET && r.flags&unix.RTNH_F_ONLINK != 0
	if o.Refuses {
		o.Index = 0 // IPv6 names the loopback
	}
	if r.Table != unix.RT_TABLE_MAIN {
		o.Table = r.Table
	}
	return o, r.Proto == RouteProto && (o.Table == 0 || isOwnTable(o.Table)) && r.flags&unix.RTM_F_CLONED == 0
}

// PutOwnRoute asks for a route where there is none of the prefix and the metric; Replacing has it take that one's place.
func PutOwnRoute(o OwnRoute, what string) Request {
	return aboutOwnRoute(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, o, what)
}

// DropOwnRoute asks for the end of a route that PutOwnRoute has put, and of no other protocol's.
func DropOwnRoute(o OwnRoute, what string) Request {
	return aboutOwnRoute(unix.RTM_DELROUTE, 0, o, what)
}

func aboutOwnRoute(kind, flags int, o OwnRoute, what string) Request {
	header := nl.NewRtMsg()
	header.Family, header.Dst_len, header.Protocol = familyOf(o.To.Addr()), uint8(o.To.Bits()), RouteProto
	if o.Table != 0 {
		header.Table = uint8(o.Table)
	}
	if o.OnLink {
		header.Flags |= unix.RTNH_F_ONLINK
	}
	r := ask(kind, flags, what, header, addressAttr(unix.RTA_DST, o.To.Masked().Addr()), numberAttr(unix.RTA_PRIORITY, o.Metric))
	switch {
	case o.Refuses:
		header.Type = unix.RTN_UNREACHABLE
	case o.Via.IsValid() && o.Via.Is4() != o.To.Addr().Is4():
		via := native.AppendUint16(nil, uint16(familyOf(o.Via))) // struct rtvia
		r.AddData(nl.NewRtAttr(unix.RTA_VIA, append(via, o.Via.AsSlice()...)))
	case o.Via.IsValid():
		r.AddData(addressAttr(unix.RTA_GATEWAY, o.Via))
	default:
		header.Scope = unix.RT_SCOPE_LINK
	}
	if o.Index != 0 {
		r.AddData(numberAttr(unix.RTA_OIF, o.Index))
	}
	return r
}
