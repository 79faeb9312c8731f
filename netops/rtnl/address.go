package rtnl

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An Address is an address of a link, as the kernel reports it.
type Address struct {
	Index  int // of the link
	Prefix netip.Prefix
	Scope  uint8
	Flags  uint32
	Proto  uint8 // who gave it (IFA_PROTO): placed, or another's number

	peer, broadcast netip.Addr
	Lifetime        []byte // struct ifa_cacheinfo, as it was read
	metric          []byte // of its prefix route
}

// IFA_PROTO (Linux 5.18) tells who gave a link an address; kernels that do not know it ignore it. Numbers up to 3 are the
// kernel's own; ours is 'b', 98. A route of the host that is ours has the same number as its protocol.
const (
	ifaProto = 11
	OurProto = 'b'
)

// ParseAddress reads the body of RTM_NEWADDR or RTM_DELADDR (rtnetlink(7)).
func ParseAddress(body []byte) (a Address) {
	if len(body) < unix.SizeofIfAddrmsg {
		return a
	}
	a.Flags, a.Scope, a.Index = uint32(body[2]), body[3], int(native.Uint32(body[4:]))
	var local netip.Addr
	for kind, value := range Attributes(body[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			a.peer, _ = netip.AddrFromSlice(value)
		case unix.IFA_BROADCAST:
			a.broadcast, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			a.Flags = uint32(number(value))
		case ifaProto:
			if len(value) > 0 {
				a.Proto = value[0]
			}
		case unix.IFA_CACHEINFO:
			a.Lifetime = append(a.Lifetime, value...)
		case unix.IFA_RT_PRIORITY:
			a.metric = append(a.metric, value...)
		}
	}
	if !local.IsValid() {
		local = a.peer
	}
	a.Prefix = netip.PrefixFrom(local, int(body[1]))
	return a
}

// AddressesOf lists the addresses of a family that a link has; index 0: all links.
func AddressesOf(s *Socket, family uint8, index int, parts ...nl.NetlinkRequestData) (all []Address, err error) {
	header := nl.NewIfAddrmsg(int(family))
	header.Index = uint32(index)
	err = s.dump(unix.RTM_GETADDR, "list addresses", func() { all = nil }, func(_ uint16, body []byte) {
		if a := ParseAddress(body); index == 0 || a.Index == index {
			all = append(all, a)
		}
	}, append([]nl.NetlinkRequestData{header}, parts...)...)
	return all, err
}

// PutAddress asks for an address on a link. An IPv6 one is usable at once: without duplicate address detection, which
// the cluster has done already.
func PutAddress(index int, a Address, what string) Request {
	return aboutAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, a, what)
}

// DropAddress asks for the end of an address on a link.
func DropAddress(index int, a Address, what string) Request {
	return aboutAddress(unix.RTM_DELADDR, 0, index, a, what)
}

func aboutAddress(kind, flags, index int, a Address, what string) Request {
	header := nl.NewIfAddrmsg(int(familyOf(a.Prefix.Addr())))
	header.Prefixlen, header.Scope, header.Index = uint8(a.Prefix.Bits()), a.Scope, uint32(index)
	peer := a.peer
	if !peer.IsValid() {
		peer = a.Prefix.Addr()
	}
	r := ask(kind, flags, what, header, addressAttr(unix.IFA_LOCAL, a.Prefix.Addr()), addressAttr(unix.IFA_ADDRESS, peer))
	if kind == unix.RTM_DELADDR {
		return r
	}
	const kept = unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_MCAUTOJOIN | unix.IFA_F_HOMEADDRESS
	held := a.Flags & kept
	if a.Prefix.Addr().Is6() {
		held |= unix.IFA_F_NODAD
	}
	r.AddData(numberAttr(unix.IFA_FLAGS, int(held)))
	if a.broadcast.IsValid() {
		r.AddData(addressAttr(unix.IFA_BROADCAST, a.broadcast))
	}
	if len(a.Lifetime) > 0 {
		r.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, a.Lifetime))
	}
	if len(a.metric) > 0 {
		r.AddData(nl.NewRtAttr(unix.IFA_RT_PRIORITY, a.metric))
	}
	if a.Proto != 0 {
		r.AddData(nl.NewRtAttr(ifaProto, []byte{a.Proto}))
	}
	return r
}

// PlainAddress is an address of global scope that lasts, with IPv4's broadcast address (RFC 919) where the subnet has one.
func PlainAddress(p netip.Prefix) Address {
	a := Address{Prefix: p}
	if p.Addr().Is4() && p.Bits() < 31 {
		last := p.Addr().As4()
		for bit := p.Bits(); bit < 32; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		a.broadcast = netip.AddrFrom4(last)
	}
	return a
}
