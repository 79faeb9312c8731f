package netops

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An address is one of a link, as the kernel tells it.
type address struct {
	prefix netip.Prefix
	scope  uint8
	flags  uint32
	proto  uint8 // who gave it (IFA_PROTO): placed, or another's number

	peer, broadcast netip.Addr
	lifetime        []byte // struct ifa_cacheinfo, as it was read
	metric          []byte // of its prefix route
}

// IFA_PROTO (Linux 5.18) tells who gave a link an address; kernels that do not know it ignore it. Numbers up to 3 are the
// kernel's own; ours is 'b'.
const (
	ifaProto = 11
	placed   = 'b'
)

// parseAddress reads the body of RTM_NEWADDR (rtnetlink(7)) and tells whose address it is.
func parseAddress(body []byte) (a address, index int) {
	if len(body) < unix.SizeofIfAddrmsg {
		return a, 0
	}
	a.flags, a.scope, index = uint32(body[2]), body[3], int(native.Uint32(body[4:]))
	var local netip.Addr
	for kind, value := range attributes(body[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			a.peer, _ = netip.AddrFromSlice(value)
		case unix.IFA_BROADCAST:
			a.broadcast, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			a.flags = uint32(number(value))
		case ifaProto:
			if len(value) > 0 {
				a.proto = value[0]
			}
		case unix.IFA_CACHEINFO:
			a.lifetime = append(a.lifetime, value...)
		case unix.IFA_RT_PRIORITY:
			a.metric = append(a.metric, value...)
		}
	}
	if !local.IsValid() {
		local = a.peer
	}
	a.prefix = netip.PrefixFrom(local, int(body[1]))
	return a, index
}

// addressesOf lists the addresses of a family that a link has; index 0: all links.
func addressesOf(s *socket, family uint8, index int, parts ...nl.NetlinkRequestData) (all []address, err error) {
	header := nl.NewIfAddrmsg(int(family))
	header.Index = uint32(index)
	err = s.dump(unix.RTM_GETADDR, "list addresses", func() { all = nil }, func(_ uint16, body []byte) {
		if a, of := parseAddress(body); index == 0 || of == index {
			all = append(all, a)
		}
	}, append([]nl.NetlinkRequestData{header}, parts...)...)
	return all, err
}

// putAddress asks for an address on a link. An IPv6 one is usable at once: without duplicate address detection, which
// the cluster has done already.
func putAddress(index int, a address, what string) request {
	return aboutAddress(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, index, a, what)
}

func dropAddress(index int, a address, what string) request {
	return aboutAddress(unix.RTM_DELADDR, 0, index, a, what)
}

func aboutAddress(kind, flags, index int, a address, what string) request {
	header := nl.NewIfAddrmsg(int(familyOf(a.prefix.Addr())))
	header.Prefixlen, header.Scope, header.Index = uint8(a.prefix.Bits()), a.scope, uint32(index)
	peer := a.peer
	if !peer.IsValid() {
		peer = a.prefix.Addr()
	}
	r := ask(kind, flags, what, header, addressAttr(unix.IFA_LOCAL, a.prefix.Addr()), addressAttr(unix.IFA_ADDRESS, peer))
	if kind == unix.RTM_DELADDR {
		return r
	}
	const kept = unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_MCAUTOJOIN | unix.IFA_F_HOMEADDRESS
	held := a.flags & kept
	if a.prefix.Addr().Is6() {
		held |= unix.IFA_F_NODAD
	}
	r.AddData(numberAttr(unix.IFA_FLAGS, int(held)))
	if a.broadcast.IsValid() {
		r.AddData(addressAttr(unix.IFA_BROADCAST, a.broadcast))
	}
	if len(a.lifetime) > 0 {
		r.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, a.lifetime))
	}
	if len(a.metric) > 0 {
		r.AddData(nl.NewRtAttr(unix.IFA_RT_PRIORITY, a.metric))
	}
	if a.proto != 0 {
		r.AddData(nl.NewRtAttr(ifaProto, []byte{a.proto}))
	}
	return r
}

// plain is an address of global scope that lasts, with IPv4's broadcast address (RFC 919) where the subnet has one.
func plain(p netip.Prefix) address {
	a := address{prefix: p}
	if p.Addr().Is4() && p.Bits() < 31 {
		last := p.Addr().As4()
		for bit := p.Bits(); bit < 32; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		a.broadcast = netip.AddrFrom4(last)
	}
	return a
}
