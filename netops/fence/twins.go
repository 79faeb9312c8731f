package fence

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A port of a bridge and one that the host routes to pass different hooks: the table of family bridge sees the first, that of
// family inet the second. Each port is in the sets of its own table. A slot's timer and lock are in both tables, and change in the
// same transactions: it opens and closes in both at once.

// routedTable is the table of family inet: of ports that are on no bridge.
var routedTable = &nftables.Table{Name: filterTable.Name, Family: nftables.TableFamilyINet}

// tables are where ports pass: those of bridges, and those that the host routes to.
var tables = [...]*nftables.Table{filterTable, routedTable}

// twins are the sets of family inet by those of family bridge that they correspond to.
var twins = map[*nftables.Set]*nftables.Set{}

// twinIDs begin the numbers of the sets of the table of family inet.
const twinIDs = 100

// makeTwins runs after the sets are made.
func makeTwins(sets ...*nftables.Set) {
	for _, set := range sets {
		twin := *set
		twin.Table, twin.ID = routedTable, set.ID+twinIDs
		twins[set] = &twin
	}
}

// of is a set as a table has it.
func of(table *nftables.Table, set *nftables.Set) *nftables.Set {
	if table == routedTable {
		return twins[set]
	}
	return set
}

// addBoth adds elements to a set of both tables.
func addBoth(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	return errors.Join(c.SetAddElements(set, elements), c.SetAddElements(twins[set], elements))
}

// removeBoth takes elements out of a set of both tables.
func removeBoth(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	return errors.Join(c.SetDeleteElements(set, elements), c.SetDeleteElements(twins[set], elements))
}

// clearBoth empties a set of both tables.
func clearBoth(c *nftables.Conn, set *nftables.Set) {
	c.FlushSet(set)
	c.FlushSet(twins[set])
}

// routedOrigins are the rules of the chain origin for packets of ports that the host routes to. The host leads to a container's own
// addresses over its port, and to no others: a source to which it would not lead over the port is another's. Such a port has no
// neighbours that ARP, neighbour discovery or another MAC could deceive.
func routedOrigins() [][]expr.Any {
	return [][]expr.Any{
		frame(name(expr.MetaKeyIIFNAME), in(twins[trusted])).then(expr.VerdictReturn),
		frame(leading(), compared(expr.CmpOpNeq, 0, 0, 0, 0)).then(expr.VerdictReturn),
		match{}.then(expr.VerdictDrop),
	}
}

// leading leaves the link in a register over which the host would lead to the source, or 0 where that is not the one it came by. A rule
// with it runs in prerouting only.
func leading() match {
	return match{&expr.Fib{Register: inOther, FlagSADDR: true, FlagIIF: true, ResultOIF: true}}
}

// tryLeading reports whether the kernel takes the rules of routedOrigins: a table with them is made and removed in one transaction.
func (c *connection) tryLeading() (leads bool, err error) {
	table := &nftables.Table{Name: filterTable.Name + "-trial", Family: nftables.TableFamilyINet}
	err = c.commit(func(conn *nftables.Conn) error {
		conn.AddTable(table)
		chain := conn.AddChain(&nftables.Chain{Name: origin, Table: table})
		addRules(conn, chain, frame(leading(), compared(expr.CmpOpNeq, 0, 0, 0, 0)).then(expr.VerdictReturn))
		conn.DelTable(table)
		return nil
	})
	for _, unknown := range [...]unix.Errno{unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL} {
		if errors.Is(err, unknown) { // as kernels say of an expression that they do not have
			return false, nil
		}
	}
	return err == nil, err
}

// Leads reports whether routed ports send only from addresses to which the host leads over them. It takes nft_fib_inet.
func (t *Table) Leads() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leads
}
