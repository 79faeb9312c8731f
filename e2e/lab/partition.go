package lab

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// A Side names machines of the lab, nodes and etcd's members, that a partition cuts from others.
type Side []string

// A cut is a pair of machines: no frame passes from the one to the other.
type cut struct{ from, to string }

// NodesBut is every node but those named, as a side of a partition.
func (l *Lab) NodesBut(names ...string) (side Side) {
	for _, node := range l.Nodes {
		if !slices.Contains(names, node.Name) {
			side = append(side, node.Name)
		}
	}
	return side
}

// Partition lets no frame pass between a machine of one side and one of the other, in both directions. What was cut
// before stays cut. The switch itself, and whoever watches on it, hears and reaches everyone.
func (l *Lab) Partition(a, b Side) error {
	if err := l.Cut(a, b); err != nil {
		return err
	}
	return l.Cut(b, a)
}

// Cut lets no frame pass from a machine of one side to one of the other; those of the other direction do.
func (l *Lab) Cut(from, to Side) error {
	for _, name := range slices.Concat(from, to) {
		if machines := l.machines(); !slices.Contains(machines, name) {
			return fmt.Errorf("lab: cut %v from %v: there is no %q: want names among %v", from, to, name, machines)
		}
	}
	for _, n := range l.Nodes {
		if apart(n.Address) && slices.Contains(slices.Concat(from, to), n.Name) {
			return fmt.Errorf("lab: cut %v from %v: %s is behind the router, and cuts are made in the switch: unplug it instead", from, to, n.Name)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	cuts := slices.Clone(l.cuts)
	for _, a := range from {
		for _, b := range to {
			if pair := (cut{a, b}); a != b && !slices.Contains(cuts, pair) {
				cuts = append(cuts, pair)
			}
		}
	}
	return l.setCuts(cuts)
}

// Heal undoes every partition and puts every cable back; a node that is off has none.
func (l *Lab) Heal() error {
	for _, name := range l.machines() {
		err := setCable(name, true)
		if _, off := errors.AsType[netlink.LinkNotFoundError](err); err != nil && !off {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setCuts(nil)
}

// machines names all that is plugged into the switch.
func (l *Lab) machines() Side {
	side := l.NodesBut()
	if l.Etcd != nil {
		side = append(side, l.Etcd.Side()...)
	}
	return side
}

// setCuts has the switch drop what passes from one port of a cut to the other, in one batch.
func (l *Lab) setCuts(cuts []cut) error {
	connection, err := nftables.New()
	if err != nil {
		return fmt.Errorf("lab: partition: %w", err)
	}
	table := &nftables.Table{Name: "lab", Family: nftables.TableFamilyBridge}
	connection.AddTable(table) // so that it can be deleted
	connection.DelTable(table)
	if len(cuts) > 0 {
		connection.AddTable(table)
		chain := connection.AddChain(&nftables.Chain{
			Name: "cuts", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		for _, cut := range cuts {
			connection.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: cut.drop()})
		}
	}
	if err := connection.Flush(); err != nil {
		return fmt.Errorf("lab: partition %v: %w", cuts, err)
	}
	l.cuts = cuts
	return nil
}

func (c cut) drop() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: interfaceName(portOf(c.from))},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: interfaceName(portOf(c.to))},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// interfaceName is a name as the kernel compares it: 16 bytes, filled up with zeros.
func interfaceName(name string) []byte {
	padded := make([]byte, 16)
	copy(padded, name)
	return padded
}
