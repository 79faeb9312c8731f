package fence

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// origin is the chain through which each frame from a port goes before its class counts. A frame returns from it where the port
// may send it, and is dropped else. It runs before the bridge learns a MAC (of frames to link-local groups it
// learns none: rtnl.LearnNothingFromLinkLocalGroups).
const origin = "origin"

// Registers: a port's name lies in the first 16 bytes, its MAC in the 8 after them, an address behind it, as a set's key has them.
// What is compared with a constant lies behind all of that.
const (
	inName    = 1
	inMAC     = 12
	inAddress = 14
	inOther   = 18
)

// A match is what a rule asks of a frame, one after the other.
type match []expr.Any

func frame(parts ...match) (all match) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func (m match) then(kind expr.VerdictKind) []expr.Any { return append(m, &expr.Verdict{Kind: kind}) }

func name(key expr.MetaKey) match { return match{&expr.Meta{Key: key, Register: inName}} }

func load(register uint32, base expr.PayloadBase, offset, size uint32) match {
	return match{&expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: size}}
}

func compared(op expr.CmpOp, data ...byte) match {
	return match{&expr.Cmp{Op: op, Register: inOther, Data: data}}
}

func equal(base expr.PayloadBase, offset uint32, data ...byte) match {
	return frame(load(inOther, base, offset, uint32(len(data))), compared(expr.CmpOpEq, data...))
}

func in(set *nftables.Set) match {
	return match{&expr.Lookup{SourceRegister: inName, SetName: set.Name, SetID: set.ID}}
}

// Parts of frames (IEEE 802.3; RFC 791, 826, 4861, 8200).
const (
	ethernet  = expr.PayloadBaseLLHeader
	network   = expr.PayloadBaseNetworkHeader
	transport = expr.PayloadBaseTransportHeader

	etherSource       = 6
	etherType         = 12
	solicitation      = 135
	advertisement     = 136
	routeAdvertised   = 134
	sizeofV4          = 4
	sizeofV6          = 16
	arpSender         = 8 // its MAC; its address follows
	arpSenderAddress  = 14
	arpTargetAddress  = 24
	ndTarget          = 8
	v6Source, v6Group = 8, 24
)

func ethertype(t uint16) match { return equal(ethernet, etherType, byte(t>>8), byte(t)) }

func sourceMAC() match { return load(inMAC, ethernet, etherSource, sizeofMAC) }

// l4 compares what follows IPv6's header and its extensions. A frame in which that cannot be told does not match.
func l4(op expr.CmpOp, protocol byte) match {
	return frame(match{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: inOther}}, compared(op, protocol))
}

// discovery matches a message of neighbour discovery, also behind extension headers. Of a fragment that is not the first no type can be
// told: no host takes neighbour discovery from fragments (RFC 6980).
func discovery(kind byte) match {
	return frame(ethertype(unix.ETH_P_IPV6), l4(expr.CmpOpEq, unix.IPPROTO_ICMPV6), equal(transport, 0, kind))
}

// fromPort leaves name and source MAC in their registers, as the keys of sets begin.
func fromPort() match { return frame(name(expr.MetaKeyIIFNAME), sourceMAC()) }

// origins are the rules of the chain. Traffic comes first.
func origins() (rules [][]expr.Any) {
	const pass, drop = expr.VerdictReturn, expr.VerdictDrop
	v4 := frame(fromPort(), load(inAddress, network, 12, sizeofV4), in(sendersV4))
	v6 := frame(fromPort(), load(inAddress, network, v6Source, sizeofV6), in(sendersV6))
	nobody := equal(network, v6Source, make([]byte, sizeofV6)...)
	target := frame(fromPort(), load(inAddress, transport, ndTarget, sizeofV6), in(sendersV6))
	arp := equal(network, 0, 0, 1, 8, 0, sizeofMAC, sizeofV4) // of Ethernet and IPv4
	arpFrom := frame(fromPort(), in(senders), load(inMAC, network, arpSender, sizeofMAC))
	rules = [][]expr.Any{
		frame(ethertype(unix.ETH_P_IP), v4).then(pass),
		frame(name(expr.MetaKeyIIFNAME), in(trusted)).then(pass),

		frame(ethertype(unix.ETH_P_IPV6), v6, l4(expr.CmpOpNeq, unix.IPPROTO_ICMPV6)).then(pass),
		discovery(routeAdvertised).then(drop),
		frame(discovery(advertisement), v6, target).then(pass),
		discovery(advertisement).then(drop),
		frame(ethertype(unix.ETH_P_IPV6), v6).then(pass),
		// An interface asks who has an address before it takes it, and says which groups it hears.
		frame(discovery(solicitation), nobody, target).then(pass),
		frame(ethertype(unix.ETH_P_IPV6), nobody, equal(network, v6Group, mldRouters...), fromPort(), in(senders)).then(pass),

		frame(ethertype(unix.ETH_P_ARP), arp, arpFrom, load(inAddress, network, arpSenderAddress, sizeofV4), in(sendersV4)).then(pass),
		frame(ethertype(unix.ETH_P_ARP), arp, equal(network, arpSenderAddress, make([]byte, sizeofV4)...),
			arpFrom, load(inAddress, network, arpTargetAddress, sizeofV4), in(sendersV4)).then(pass),
	}
	for _, t := range [...]uint16{unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP, unix.ETH_P_8021Q, unix.ETH_P_8021AD} {
		rules = append(rules, ethertype(t).then(drop))
	}
	return append(rules, frame(fromPort(), in(senders)).then(pass), match{}.then(drop))
}

// mldRouters is the group ff02::16, to which interfaces report the groups that they hear (RFC 3810).
var mldRouters = []byte{0: 0xff, 1: 2, 15: 0x16}
