package fence

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// MasqueradeTable is the name of the tables in families ip and ip6.
const MasqueradeTable = "berth"

// Masquerade sees that what leaves the pools of these CIDRs takes the host's address: one rule a CIDR in table "berth" of
// family ip or ip6. What it finds missing it adds; each rule carries its CIDR.
func (t *Table) Masquerade(pools []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pool := range pools {
		if err := t.commit(func(c *nftables.Conn) error { return addMasquerade(c, pool.Masked()) }); err != nil {
			return fmt.Errorf("masquerade %v: %w", pool, err)
		}
	}
	return nil
}

// Masquerades reports whether the pool of a CIDR has its rule, in a chain as it was made.
func (t *Table) Masquerades(pool netip.Prefix) (is bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	family := nftables.TableFamilyIPv4
	if pool.Addr().Is6() {
		family = nftables.TableFamilyIPv6
	}
	err = t.commit(func(c *nftables.Conn) error {
		table := &nftables.Table{Name: MasqueradeTable, Family: family}
		rules, err := c.GetRules(table, &nftables.Chain{Name: natChain, Table: table})
		is = slices.ContainsFunc(rules, func(r *nftables.Rule) bool { return string(r.UserData) == pool.String() })
		return err
	})
	return is, err
}

const natChain = "masquerade"

func addMasquerade(c *nftables.Conn, pool netip.Prefix) error {
	family := nftables.TableFamilyIPv4
	if pool.Addr().Is6() {
		family = nftables.TableFamilyIPv6
	}
	nat := c.AddTable(&nftables.Table{Name: MasqueradeTable, Family: family})
	chain := c.AddChain(&nftables.Chain{
		Name: natChain, Table: nat, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	if err := c.Flush(); err != nil {
		return err
	}
	rules, err := c.GetRules(nat, chain)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if string(r.UserData) == pool.String() {
			return nil
		}
	}
	c.AddRule(&nftables.Rule{Table: nat, Chain: chain, Exprs: masqueradeRule(pool), UserData: []byte(pool.String())})
	return nil
}

// masqueradeRule is: source in the pool, destination not in the pool, nor a multicast address.
func masqueradeRule(pool netip.Prefix) []expr.Any {
	multicast := netip.MustParsePrefix("224.0.0.0/4")
	source, destination := uint32(12), uint32(16) // in IPv4's header (RFC 791)
	if pool.Addr().Is6() {
		multicast = netip.MustParsePrefix("ff00::/8")
		source, destination = 8, 24 // in IPv6's header (RFC 8200)
	}
	var exprs []expr.Any
	exprs = append(exprs, compare(source, expr.CmpOpEq, pool)...)
	exprs = append(exprs, compare(destination, expr.CmpOpNeq, pool)...)
	exprs = append(exprs, compare(destination, expr.CmpOpNeq, multicast)...)
	return append(exprs, &expr.Masq{})
}

// compare matches an address of the network header against a prefix.
func compare(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	size := p.Addr().BitLen() / 8
	mask := make([]byte, size)
	for bit := range p.Bits() {
		mask[bit/8] |= 0x80 >> (bit % 8)
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(size)},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(size), Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}
