package fence

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The chains by which isolated ports are kept apart. between is at the hook that knows both links of what passes, after a destination
// was translated and before a source is.
const (
	between  = "between"
	leaving  = "leaving"  // from isolated ports
	arriving = "arriving" // from elsewhere than this node's ports to isolated ones
	same     = "same"     // from an isolated port to an isolated one
)

// A pair of addresses lies in the first registers, as a key of selvesV4 or selvesV6 has it.
const (
	inFirst    = inName
	inSecondV4 = 9
	inSecondV6 = 12
)

// Where the network header of IPv4 has its addresses (RFC 791).
const v4Source, v4Destination = 12, 16

func addApart(c *nftables.Conn, table *nftables.Table) {
	chains := map[string][][]expr.Any{leaving: leavingRules(), arriving: arrivingRules(), same: sameRules()}
	first := betweenRules()
	if table == routedTable {
		chains, first = nil, routedBetweenRules()
	}
	for _, name := range [...]string{same, leaving, arriving} { // a chain comes before the jumps to it
		if rules := chains[name]; rules != nil {
			chain := c.AddChain(&nftables.Chain{Name: name, Table: table})
			c.FlushChain(chain)
			addRules(c, chain, rules...)
		}
	}
	chain := c.AddChain(&nftables.Chain{
		Name: between, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(-300),
	})
	c.FlushChain(chain)
	addRules(c, chain, first...)
}

// betweenRules are those of what passes a bridge. On one node the ports tell who is isolated, whatever they send.
func betweenRules() [][]expr.Any {
	elsewhere := match{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: inName},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: inName, Data: []byte(PortPrefix)},
	}
	return [][]expr.Any{
		frame(name(expr.MetaKeyIIFNAME), in(isolated)).to(expr.VerdictJump, leaving),
		frame(elsewhere, name(expr.MetaKeyOIFNAME), in(isolated)).to(expr.VerdictJump, arriving),
	}
}

func (m match) to(kind expr.VerdictKind, chain string) []expr.Any {
	return append(m, &expr.Verdict{Kind: kind, Chain: chain})
}

// sameRules let a port's traffic come back to it by a Service, and nothing else.
func sameRules() [][]expr.Any {
	v4, v6 := ethertype(unix.ETH_P_IP), ethertype(unix.ETH_P_IPV6)
	return [][]expr.Any{
		frame(v4, ends4(), in(selvesV4)).then(expr.VerdictReturn),
		frame(v6, ends6(), in(selvesV6)).then(expr.VerdictReturn),
		match{}.then(expr.VerdictDrop),
	}
}

// leavingRules judge by the destination what an isolated port sends to elsewhere than this node's ports. Who asks for its own address
// announces it.
func leavingRules() [][]expr.Any {
	const pass, drop = expr.VerdictReturn, expr.VerdictDrop
	v4, v6, arp := ethertype(unix.ETH_P_IP), ethertype(unix.ETH_P_IPV6), ethertype(unix.ETH_P_ARP)
	target := func(register uint32) match { return load(register, transport, ndTarget, sizeofV6) }
	asked := func(register uint32) match { return load(register, network, arpTargetAddress, sizeofV4) }
	return [][]expr.Any{
		frame(name(expr.MetaKeyOIFNAME), in(isolated)).to(expr.VerdictGoto, same),
		append(ofPort(expr.MetaKeyOIFNAME), &expr.Verdict{Kind: pass}),

		frame(v4, load(inFirst, network, v4Destination, sizeofV4), in(apartV4)).then(drop),
		v4.then(pass),

		frame(arp, asked(inFirst), asked(inSecondV4), in(selvesV4)).then(pass),
		frame(arp, asked(inFirst), in(apartV4)).then(drop),
		arp.then(pass),

		frame(discovery(solicitation), target(inFirst), target(inSecondV6), in(selvesV6)).then(pass),
		frame(discovery(solicitation), linkLocalAt(transport, ndTarget, expr.CmpOpNeq), target(inFirst), in(apartV6)).then(drop),
		signalling(v6Group).then(pass),
		frame(v6, load(inFirst, network, v6Group, sizeofV6), in(apartV6)).then(drop),
		v6.then(pass),
		match{}.then(drop),
	}
}

// arrivingRules judge by the source what comes to an isolated port from elsewhere than this node's ports.
func arrivingRules() [][]expr.Any {
	const pass, drop = expr.VerdictReturn, expr.VerdictDrop
	v4, v6, arp := ethertype(unix.ETH_P_IP), ethertype(unix.ETH_P_IPV6), ethertype(unix.ETH_P_ARP)
	return [][]expr.Any{
		frame(v4, load(inFirst, network, v4Source, sizeofV4), in(apartV4)).then(drop),
		v4.then(pass),
		frame(arp, load(inFirst, network, arpSenderAddress, sizeofV4), in(apartV4)).then(drop),
		arp.then(pass),
		signalling(v6Source).then(pass),
		frame(v6, load(inFirst, network, v6Source, sizeofV6), in(apartV6)).then(drop),
		v6.then(pass),
		match{}.then(drop),
	}
}

// routedBetweenRules judge what the host forwards, by its addresses, also from and to containers on bridges; and what isolated routed
// ports send, from whatever source.
func routedBetweenRules() [][]expr.Any {
	family := func(f byte) match {
		return frame(match{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: inOther}}, compared(expr.CmpOpEq, f))
	}
	from, v4, v6 := frame(name(expr.MetaKeyIIFNAME), in(isolated)), family(unix.NFPROTO_IPV4), family(unix.NFPROTO_IPV6)
	source4, source6 := load(inFirst, network, v4Source, sizeofV4), load(inFirst, network, v6Source, sizeofV6)
	to4 := frame(load(inFirst, network, v4Destination, sizeofV4), in(apartV4), ends4(), notIn(selvesV4))
	// Between link-local addresses nothing is forwarded, but where bridged packets pass these rules: the bridge has judged those.
	to6 := frame(load(inFirst, network, v6Group, sizeofV6), in(apartV6), linkLocalAt(network, v6Group, expr.CmpOpNeq),
		linkLocalAt(network, v6Source, expr.CmpOpNeq), ends6(), notIn(selvesV6))
	return [][]expr.Any{
		frame(v4, source4, in(apartV4), to4).then(expr.VerdictDrop),
		frame(v4, from, to4).then(expr.VerdictDrop),
		frame(v6, source6, in(apartV6), to6).then(expr.VerdictDrop),
		frame(v6, from, to6).then(expr.VerdictDrop),
	}
}

// ends4 and ends6 leave a packet's addresses in the first registers.
func ends4() match {
	return frame(load(inFirst, network, v4Source, sizeofV4), load(inSecondV4, network, v4Destination, sizeofV4))
}

func ends6() match {
	return frame(load(inFirst, network, v6Source, sizeofV6), load(inSecondV6, network, v6Group, sizeofV6))
}

func notIn(set *nftables.Set) match {
	return match{&expr.Lookup{SourceRegister: inName, SetName: set.Name, SetID: set.ID, Invert: true}}
}

// linkLocalAt compares an address in a frame with fe80::/10 (RFC 4291, section 2.5.6).
func linkLocalAt(base expr.PayloadBase, offset uint32, op expr.CmpOp) match {
	return match{
		&expr.Payload{DestRegister: inOther, Base: base, Offset: offset, Len: 2},
		&expr.Bitwise{SourceRegister: inOther, DestRegister: inOther, Len: 2, Mask: []byte{0xff, 0xc0}, Xor: []byte{0, 0}},
		&expr.Cmp{Op: op, Register: inOther, Data: []byte{0xfe, 0x80}},
	}
}

// signalling matches ICMPv6 between an interface and its link, but echoes: routers and neighbours use link-local addresses for it, and
// nothing tells the link-local address of a router from a container's.
func signalling(offset uint32) match {
	const request, reply = 128, 129 // RFC 4443, section 4
	return frame(ethertype(unix.ETH_P_IPV6), linkLocalAt(network, offset, expr.CmpOpEq),
		l4(expr.CmpOpEq, unix.IPPROTO_ICMPV6), load(inOther, transport, 0, 1),
		compared(expr.CmpOpNeq, request), compared(expr.CmpOpNeq, reply))
}
