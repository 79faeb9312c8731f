package fence

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
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
	led := match{&expr.Fib{Register: inOther, FlagSADDR: true, FlagIIF: true, ResultOIF: true}}
	return [][]expr.Any{
		frame(name(expr.MetaKeyIIFNAME), in(twins[trusted])).then(expr.VerdictReturn),
		frame(led, compared(expr.CmpOpNeq, 0, 0, 0, 0)).then(expr.VerdictReturn),
		match{}.then(expr.VerdictDrop),
	}
}
