package fence

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Tunnel is a VXLAN tunnel between nodes (RFC 7348) that is to be guarded: whoever could send into it could speak for any container.
// Nothing in its packets tells who made them but the source address of a node.
type Tunnel struct {
	ID      uint32
	Port    uint16       // UDP
	Devices []string     // this host's
	Nodes   []netip.Addr // the other nodes' addresses
	Locals  []netip.Addr // this node's
	Pools   []netip.Prefix
}

func (g *Tunnel) equal(other *Tunnel) bool {
	return g.ID == other.ID && g.Port == other.Port && slices.Equal(g.Devices, other.Devices) && slices.Equal(g.Nodes, other.Nodes) &&
		slices.Equal(g.Locals, other.Locals) && slices.Equal(g.Pools, other.Pools)
}

// GuardTunnel sees that this host takes packets of the tunnel from nodes alone; that it forwards none, by which a container's would get
// the address of its node where that masquerades; that no port of a bridge sends one to a node, whatever source it says; and that what
// comes out of the tunnel is not from one of this host's own containers. Without devices it ends that. Lists are sorted by the caller.
func (t *Table) GuardTunnel(g Tunnel) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.guard != nil && t.guard.equal(&g) {
		return nil
	}
	if err := t.change(func(c *nftables.Conn) error { return guard(c, &g, t.leads) }); err != nil {
		return fmt.Errorf("fence: guard the tunnel: %w", err)
	}
	t.guard = &g
	return nil
}

// What guards a tunnel: chains, and sets of addresses.
var (
	guardChains = [...]*nftables.Chain{
		guardChain(routedTable, "tunnel-in", nftables.ChainHookInput),
		guardChain(routedTable, "tunnel-past", nftables.ChainHookForward),
		guardChain(routedTable, "tunnel-out", nftables.ChainHookPrerouting),
		guardChain(filterTable, "tunnel-ports", nftables.ChainHookPrerouting),
	}
	guardFamilies = [...]*guardFamily{
		newGuardFamily(31, "4", nftables.TypeIPAddr, unix.NFPROTO_IPV4, unix.ETH_P_IP, 12, sizeofV4),
		newGuardFamily(34, "6", nftables.TypeIP6Addr, unix.NFPROTO_IPV6, unix.ETH_P_IPV6, v6Source, sizeofV6),
	}
)

func guardChain(table *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return &nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityRef(-299), // after the classes
	}
}

// A guardFamily is what is of one family of outer packets.
type guardFamily struct {
	proto        byte
	etherType    uint16
	source, size uint32 // of the source address in the network header; the destination follows it

	senders *nftables.Set // the nodes from which packets are taken
	pools   *nftables.Set // whose containers' own tunnels among each other are theirs
	ends    *nftables.Set // all nodes, for ports of bridges
}

func newGuardFamily(id uint32, name string, key nftables.SetDatatype, proto byte, etherType uint16, source, size uint32) *guardFamily {
	return &guardFamily{
		proto: proto, etherType: etherType, source: source, size: size,
		senders: &nftables.Set{Table: routedTable, Name: "vteps" + name, KeyType: key, ID: id},
		pools:   &nftables.Set{Table: routedTable, Name: "tunnelled" + name, KeyType: key, ID: id + 1, Interval: true},
		ends:    &nftables.Set{Table: filterTable, Name: "vteps" + name, KeyType: key, ID: id + 2},
	}
}

func (f *guardFamily) sets() []*nftables.Set { return []*nftables.Set{f.senders, f.pools, f.ends} }

// of are the elements for the addresses of the family.
func (f *guardFamily) of(addresses ...netip.Addr) (all []nftables.SetElement) {
	for _, a := range slices.Compact(slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)) {
		if a.BitLen() == int(f.size)*8 {
			all = append(all, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	return all
}

func (f *guardFamily) ofPools(pools []netip.Prefix) []nftables.SetElement {
	var own []Range
	for _, p := range slices.SortedFunc(slices.Values(pools), netip.Prefix.Compare) {
		if p.Addr().BitLen() == int(f.size)*8 {
			own = append(own, Range{p.Masked().Addr(), last(p.Masked())})
		}
	}
	return elementsFor(own)
}

// loadSource and loadDestination leave an address of the packet in the first register.
func (f *guardFamily) loadSource() match      { return load(inName, network, f.source, f.size) }
func (f *guardFamily) loadDestination() match { return load(inName, network, f.source+f.size, f.size) }

func (f *guardFamily) is() match {
	return frame(match{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: inOther}}, compared(expr.CmpOpEq, f.proto))
}

// datagram matches a packet of UDP to the tunnel's port.
func (g *Tunnel) datagram() match {
	return frame(l4(expr.CmpOpEq, unix.IPPROTO_UDP), equal(transport, 2, binary.BigEndian.AppendUint16(nil, g.Port)...))
}

// packet matches one of the tunnel: the identifier lies in the header behind UDP's (RFC 7348, section 5). Others may use the port, too.
func (g *Tunnel) packet() match {
	const sizeofUDP, vni = 8, 4
	return frame(g.datagram(), equal(transport, sizeofUDP+vni, byte(g.ID>>16), byte(g.ID>>8), byte(g.ID)))
}

// guard asks for all of it, or for its end, in the transaction of a rebuild or one of its own.
func guard(c *nftables.Conn, g *Tunnel, leads bool) error {
	c.AddTable(routedTable)
	c.AddTable(filterTable)
	for _, f := range guardFamilies {
		for _, set := range f.sets() {
			if err := c.AddSet(set, nil); err != nil {
				return err
			}
			c.FlushSet(set)
		}
	}
	for _, chain := range guardChains {
		c.FlushChain(c.AddChain(chain))
	}
	if len(g.Devices) == 0 {
		unguard(c)
		return nil
	}
	for _, f := range guardFamilies {
		for set, elements := range map[*nftables.Set][]nftables.SetElement{
			f.senders: f.of(g.Nodes...), f.pools: f.ofPools(g.Pools), f.ends: f.of(slices.Concat(g.Locals, g.Nodes)...),
		} {
			if err := c.SetAddElements(set, elements); err != nil {
				return err
			}
		}
	}
	for i, rules := range [...][][]expr.Any{g.in(), g.past(), g.out(leads), g.ports()} {
		addRules(c, guardChains[i], rules...)
	}
	return nil
}

func unguard(c *nftables.Conn) {
	for _, chain := range guardChains {
		c.DelChain(chain)
	}
	for _, f := range guardFamilies {
		for _, set := range f.sets() {
			c.DelSet(set)
		}
	}
}

// in drops what comes to this host and is of no node, or from a port, whatever source it says.
func (g *Tunnel) in() (rules [][]expr.Any) {
	rules = append(rules, frame(ofPort(expr.MetaKeyIIFNAME), g.packet()).then(expr.VerdictDrop))
	for _, f := range guardFamilies {
		rules = append(rules, frame(f.is(), g.packet(), f.loadSource(), notIn(f.senders)).then(expr.VerdictDrop))
	}
	return rules
}

// past drops what is forwarded, but between nodes, and between containers, whose own tunnels do not concern the nodes'.
func (g *Tunnel) past() (rules [][]expr.Any) {
	for _, f := range guardFamilies {
		toOthers := frame(f.is(), g.packet(), f.loadDestination(), notIn(f.pools))
		rules = append(rules,
			frame(toOthers, ofPort(expr.MetaKeyIIFNAME)).then(expr.VerdictDrop),
			frame(toOthers, f.loadSource(), notIn(f.senders)).then(expr.VerdictDrop))
	}
	return rules
}

// out drops what comes out of a device and is said to be from this host, or one of its containers.
func (g *Tunnel) out(leads bool) (rules [][]expr.Any) {
	for _, device := range g.Devices {
		if !leads {
			break
		}
		from := frame(name(expr.MetaKeyIIFNAME), match{&expr.Cmp{Op: expr.CmpOpEq, Register: inName, Data: append([]byte(device), 0)}})
		rules = append(rules,
			frame(from, match{&expr.Fib{Register: inOther, FlagSADDR: true, ResultADDRTYPE: true}},
				compared(expr.CmpOpEq, binary.NativeEndian.AppendUint32(nil, unix.RTN_LOCAL)...)).then(expr.VerdictDrop),
			frame(from, match{&expr.Fib{Register: inName, FlagSADDR: true, ResultOIFNAME: true}},
				match{&expr.Cmp{Op: expr.CmpOpEq, Register: inName, Data: []byte(PortPrefix)}}).then(expr.VerdictDrop))
	}
	return rules
}

// ports drops what a port of a bridge sends to a node, also the first fragment of it, which need not have the tunnel's header.
func (g *Tunnel) ports() (rules [][]expr.Any) {
	for _, f := range guardFamilies {
		rules = append(rules, frame(ofPort(expr.MetaKeyIIFNAME), ethertype(f.etherType), g.datagram(), f.loadDestination(), in(f.ends)).
			then(expr.VerdictDrop))
	}
	return rules
}
