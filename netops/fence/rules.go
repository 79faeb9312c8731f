package fence

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// The base chains. Prerouting and postrouting see what goes to and comes from the host, too; forward alone would not. Their hooks
// have the same numbers in families bridge and inet.
var sides = [...]struct {
	name   string
	hook   *nftables.ChainHook
	key    expr.MetaKey // the link on that side
	before [][]expr.Any // rules before those of the classes
}{
	{"from", nftables.ChainHookPrerouting, expr.MetaKeyIIFNAME, [][]expr.Any{hasOrigin()}},
	{"to", nftables.ChainHookPostrouting, expr.MetaKeyOIFNAME, nil},
}

// hasOrigin drops a frame that its port may not send.
func hasOrigin() []expr.Any {
	return append(ofPort(expr.MetaKeyIIFNAME), &expr.Verdict{Kind: expr.VerdictJump, Chain: origin})
}

// rebuild asks for tables, sets and chains where they are missing, and for the mode's rules anew, all in one
// transaction: no frame meets a table without them. What the sets hold stays. leads is what tryLeading says.
func rebuild(c *nftables.Conn, strict, leads bool) error {
	for _, table := range tables {
		if err := rebuildTable(c, table, strict, leads); err != nil {
			return err
		}
	}
	return nil
}

func rebuildTable(c *nftables.Conn, table *nftables.Table, strict, leads bool) error {
	c.AddTable(table)
	sets := []*nftables.Set{
		timers, locks, trusted, isolated, selvesV4, selvesV6, apartV4, apartV6, classSets[classes[0]], classSets[classes[1]],
	}
	var rules [][]expr.Any
	switch {
	case table == filterTable:
		sets, rules = append(sets, senders, sendersV4, sendersV6), origins()
	case leads:
		rules = routedOrigins()
	}
	for _, set := range sets {
		if err := c.AddSet(of(table, set), nil); err != nil {
			return err
		}
	}
	for i, class := range classes {
		gate := c.AddChain(&nftables.Chain{Name: class, Table: table})
		c.FlushChain(gate)
		if strict {
			addRules(c, gate, passage(table, i)...)
		}
	}
	addApart(c, table)
	from := c.AddChain(&nftables.Chain{Name: origin, Table: table})
	c.FlushChain(from)
	addRules(c, from, rules...)
	for _, side := range sides {
		chain := c.AddChain(&nftables.Chain{
			Name: side.name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: side.hook, Priority: nftables.ChainPriorityRef(-300),
		})
		c.FlushChain(chain)
		addRules(c, chain, side.before...)
		if strict {
			addRules(c, chain, fenced(table, side.key)...)
		} else {
			addRules(c, chain, cut(table, side.key))
		}
	}
	return nil
}

func addRules(c *nftables.Conn, chain *nftables.Chain, rules ...[]expr.Any) {
	for _, exprs := range rules {
		c.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs})
	}
}

// lookup continues a rule of a table where the register's content is in a set, or is not.
func lookup(table *nftables.Table, set *nftables.Set, invert bool) *expr.Lookup {
	set = of(table, set)
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: invert}
}

// ofPort matches a frame whose link is called like a port, and leaves the link's name in the register.
func ofPort(key expr.MetaKey) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(PortPrefix)},
	}
}

// cut drops a frame whose link is called like a port and is in no class.
func cut(table *nftables.Table, key expr.MetaKey) []expr.Any {
	exprs := ofPort(key)
	for _, class := range classes {
		exprs = append(exprs, lookup(table, classSets[class], true))
	}
	return append(exprs, &expr.Verdict{Kind: expr.VerdictDrop})
}

// fenced sends a frame of a port to the chain of its class; where it is in none, it is dropped.
func fenced(table *nftables.Table, key expr.MetaKey) (rules [][]expr.Any) {
	for _, class := range classes {
		rules = append(rules, append(ofPort(key),
			lookup(table, classSets[class], false),
			&expr.Verdict{Kind: expr.VerdictGoto, Chain: class}))
	}
	return append(rules, append(ofPort(key), &expr.Verdict{Kind: expr.VerdictDrop}))
}

// passage lets a frame pass where one of the class's slots has timer and lock. The timer is looked up first: a frame
// that sees the one before a transaction and the other after it must not take the old lock for the new timer's.
func passage(table *nftables.Table, class int) (rules [][]expr.Any) {
	for slot := range slots {
		rules = append(rules, []expr.Any{
			&expr.Immediate{Register: 1, Data: slotKey(class, slot)},
			lookup(table, timers, false),
			lookup(table, locks, false),
			&expr.Verdict{Kind: expr.VerdictAccept},
		})
	}
	return append(rules, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}})
}
