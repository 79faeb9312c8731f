package fence

import (
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A port of a bridge and one that the host routes to pass different hooks: the table of family bridge sees the first, that of
// family inet the second. Both tables have the same sets, with the same elements, changed in the same transactions: a port is in
// its class in both, and a slot opens and closes in both at once.

// routedTable is the table of family inet: of ports that are on no bridge.
var routedTable = &nftables.Table{Name: filterTable.Name, Family: nftables.TableFamilyINet}

// twinIDs begin the numbers of the sets of the table of family inet.
const twinIDs = 100

// twin is the set of family inet that holds what a set of family bridge holds.
func twin(set *nftables.Set) *nftables.Set {
	t := *set
	t.Table, t.ID = routedTable, set.ID+twinIDs
	return &t
}

// add adds elements to a set of both tables.
func add(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	return errors.Join(c.SetAddElements(set, elements), c.SetAddElements(twin(set), elements))
}

// remove takes elements out of a set of both tables.
func remove(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	return errors.Join(c.SetDeleteElements(set, elements), c.SetDeleteElements(twin(set), elements))
}

// clearSet empties a set of both tables.
func clearSet(c *nftables.Conn, set *nftables.Set) {
	c.FlushSet(set)
	c.FlushSet(twin(set))
}

// in is a set as a table has it.
func in(table *nftables.Table, set *nftables.Set) *nftables.Set {
	if table == routedTable {
		return twin(set)
	}
	return set
}

// lookup continues a rule of a table where the register's content is in a set, or is not.
func lookup(table *nftables.Table, set *nftables.Set, invert bool) *expr.Lookup {
	set = in(table, set)
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: invert}
}
