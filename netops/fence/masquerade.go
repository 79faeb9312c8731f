package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// MasqueradeTable is the name of the tables in families ip and ip6.
const MasqueradeTable = "berth"

// What masquerades of one family: a rule for each pool whose containers take the host's address, which carries the pool's CIDR as its
// user data; and a set of the CIDRs where they keep their own.
type masquerading struct {
	table *nftables.Table
	chain *nftables.Chain
	set   *nftables.Set

	source, destination uint32 // where the network header has the addresses
	multicast           netip.Prefix
}

const natChain = "masquerade"

var (
	masquerade4 = newMasquerading(nftables.TableFamilyIPv4, nftables.TypeIPAddr, 21, 12, 16, "224.0.0.0/4") // RFC 791
	masquerade6 = newMasquerading(nftables.TableFamilyIPv6, nftables.TypeIP6Addr, 22, 8, 24, "ff00::/8")    // RFC 8200
)

func newMasquerading(f nftables.TableFamily, key nftables.SetDatatype, id, source, destination uint32, multicast string) *masquerading {
	table := &nftables.Table{Name: MasqueradeTable, Family: f}
	return &masquerading{
		table: table,
		chain: &nftables.Chain{
			Name: natChain, Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		},
		set:    &nftables.Set{Table: table, Name: "cluster", KeyType: key, ID: id, Interval: true},
		source: source, destination: destination, multicast: netip.MustParsePrefix(multicast),
	}
}

// of picks the prefixes of the family.
func (m *masquerading) of(all []netip.Prefix) (picked []netip.Prefix) {
	for _, p := range all {
		if p.Addr().Is6() == m.multicast.Addr().Is6() && !slices.Contains(picked, p.Masked()) {
			picked = append(picked, p.Masked())
		}
	}
	return picked
}

// Masquerade sees that what leaves the pools of these CIDRs takes the host's address, unless it goes into the cluster: to one of them,
// or to a CIDR of cluster. Pools that masquerade already go on doing so.
func (t *Table) Masquerade(pools, cluster []netip.Prefix) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range [...]*masquerading{masquerade4, masquerade6} {
		if own := m.of(pools); len(own) > 0 {
			if err := t.commit(func(c *nftables.Conn) error { return m.add(c, own, m.of(cluster)) }); err != nil {
				return fmt.Errorf("masquerade %v: %w", own, err)
			}
		}
	}
	return nil
}

// Masquerades reports whether the pool of a CIDR has its rule, in a chain as it was made, and all of the cluster is spared.
func (t *Table) Masquerades(pool netip.Prefix, cluster []netip.Prefix) (is bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := masquerade4
	if pool.Addr().Is6() {
		m = masquerade6
	}
	err = t.commit(func(c *nftables.Conn) error {
		rules, err := m.rules(c)
		if err != nil || rules[pool] == nil || !spares(rules[pool]) {
			return err
		}
		held, err := c.GetSetElements(m.set)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		is = sameElements(held, elementsFor(spared(rules, m.of(cluster))))
		return err
	})
	return is, err
}

// RetireMasquerade ends the masquerading of all pools but these, and reports whether there was any. What others put into the tables
// stays.
func (t *Table) RetireMasquerade(used []netip.Prefix) (ended bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range [...]*masquerading{masquerade4, masquerade6} {
		err = t.commit(func(c *nftables.Conn) error {
			did, err := m.retire(c, m.of(used))
			ended = ended || did
			return err
		})
		if err != nil {
			return ended, fmt.Errorf("end the masquerading of pools that nobody uses: %w", err)
		}
	}
	return ended, nil
}

// rules are those of the chain, by their pool; none: there is no such chain.
func (m *masquerading) rules(c *nftables.Conn) (map[netip.Prefix]*nftables.Rule, error) {
	all, err := c.GetRules(m.table, m.chain)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	ours := map[netip.Prefix]*nftables.Rule{}
	for _, r := range all {
		if pool, err := netip.ParsePrefix(string(r.UserData)); err == nil {
			ours[pool] = r
		}
	}
	return ours, err
}

func (m *masquerading) add(c *nftables.Conn, pools, cluster []netip.Prefix) error {
	rules, err := m.rules(c)
	if err != nil {
		return err
	}
	c.AddTable(m.table)
	c.AddChain(m.chain)
	if err := c.AddSet(m.set, nil); err != nil {
		return err
	}
	for _, pool := range pools {
		former := rules[pool]
		if former != nil && spares(former) {
			continue
		}
		if former != nil { // a former release's, which spares only its own pool
			if err := c.DelRule(former); err != nil {
				return err
			}
		}
		if rules == nil {
			rules = map[netip.Prefix]*nftables.Rule{}
		}
		rules[pool] = c.AddRule(&nftables.Rule{Table: m.table, Chain: m.chain, Exprs: m.rule(pool), UserData: []byte(pool.String())})
	}
	c.FlushSet(m.set)
	return c.SetAddElements(m.set, elementsFor(spared(rules, cluster)))
}

func (m *masquerading) retire(c *nftables.Conn, used []netip.Prefix) (ended bool, err error) {
	rules, err := m.rules(c)
	if err != nil {
		return false, err
	}
	for pool, rule := range rules {
		if slices.Contains(used, pool) {
			continue
		}
		if err := c.DelRule(rule); err != nil {
			return false, err
		}
		ended = true
		delete(rules, pool)
	}
	if ended && len(rules) == 0 {
		return true, m.clear(c)
	}
	return ended, nil
}

// clear takes the table away after the last rule of ours, unless others have put something into it.
func (m *masquerading) clear(c *nftables.Conn) error {
	if err := c.Flush(); err != nil {
		return err
	}
	left, err := c.GetRules(m.table, m.chain)
	if err != nil || len(left) > 0 {
		return err
	}
	c.DelTable(m.table)
	return nil
}

// rule is: source in the pool; destination not in the cluster, nor a multicast address.
func (m *masquerading) rule(pool netip.Prefix) []expr.Any {
	size := uint32(pool.Addr().BitLen() / 8)
	exprs := compare(m.source, expr.CmpOpEq, pool)
	exprs = append(exprs,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: m.destination, Len: size},
		&expr.Lookup{SourceRegister: 1, SetName: m.set.Name, SetID: m.set.ID, Invert: true})
	exprs = append(exprs, compare(m.destination, expr.CmpOpNeq, m.multicast)...)
	return append(exprs, &expr.Masq{})
}

// spares reports whether a rule asks the set.
func spares(r *nftables.Rule) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool { _, is := e.(*expr.Lookup); return is })
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
