package fence

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// readClasses lists the ports that the kernel has in each class.
func (c *connection) readClasses() (map[string]string, error) {
	var sets []*nftables.Set
	for _, class := range classes {
		sets = append(sets, classSets[class], twins[classSets[class]])
	}
	held, err := c.readElements(sets)
	members := map[string]string{}
	for e := range held {
		members[portOf(e.key)] = e.set.Name
	}
	return members, err
}

// readElements lists what the kernel has in sets, which have to exist.
func (c *connection) readElements(sets []*nftables.Set) (map[element]bool, error) {
	held := map[element]bool{}
	err := c.commit(func(conn *nftables.Conn) error {
		for _, set := range sets {
			elements, err := conn.GetSetElements(set)
			if err != nil {
				return fmt.Errorf("set %s: %w", set.Name, err)
			}
			for _, e := range elements {
				held[elementOf(set, e)] = true
			}
		}
		return nil
	})
	return held, err
}

// existing are those of the members' sets that the tables have; none: there are no tables.
func (c *connection) existing() (sets []*nftables.Set, err error) {
	for _, table := range tables {
		some, err := c.existingIn(table)
		if err != nil {
			return nil, err
		}
		sets = append(sets, some...)
	}
	return sets, nil
}

func (c *connection) existingIn(table *nftables.Table) (sets []*nftables.Set, err error) {
	err = c.commit(func(conn *nftables.Conn) error {
		held, err := conn.ListTablesOfFamily(table.Family)
		if err != nil || !slices.ContainsFunc(held, func(t *nftables.Table) bool { return t.Name == table.Name }) {
			return err
		}
		all, err := conn.GetSets(table)
		for _, set := range memberSets() {
			if set.Table == table && slices.ContainsFunc(all, func(s *nftables.Set) bool { return s.Name == set.Name }) {
				sets = append(sets, set)
			}
		}
		return err
	})
	return sets, err
}

// elementsPerCommit keeps a transaction below what a socket takes at once, and a message's list of elements below the 64 KiB that an
// attribute can hold.
const elementsPerCommit = 1000

// rewrite makes the kernel's elements those that are wanted. What is too much goes first. Where there are many, ports come
// back one after the other.
func (c *connection) rewrite(held, wanted map[element]bool) error {
	for chunk := range slices.Chunk(lacking(wanted, held), elementsPerCommit) {
		// A deletion fails where there is nothing to delete.
		if err := c.commit(func(conn *nftables.Conn) error { return errors.Join(add(conn, chunk), remove(conn, chunk)) }); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(lacking(held, wanted), elementsPerCommit) {
		if err := c.commit(func(conn *nftables.Conn) error { return add(conn, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

// lacking are the elements of all that those lack, by port.
func lacking(those, all map[element]bool) (lack []element) {
	for e := range all {
		if !those[e] {
			lack = append(lack, e)
		}
	}
	class := func(e element) int { // a port is in none before it is known what it may
		if e.set == of(e.set.Table, classSets[e.set.Name]) {
			return 1
		}
		return 0
	}
	slices.SortFunc(lack, func(a, b element) int {
		return cmp.Or(cmp.Compare(portOf(a.key), portOf(b.key)), class(a)-class(b), cmp.Compare(a.key, b.key))
	})
	return lack
}

func add(c *nftables.Conn, elements []element) error { return each(elements, c.SetAddElements) }

func remove(c *nftables.Conn, elements []element) error { return each(elements, c.SetDeleteElements) }

// each has a change made of the elements of each set.
func each(elements []element, change func(*nftables.Set, []nftables.SetElement) error) error {
	for _, set := range memberSets() {
		var of []nftables.SetElement
		for _, e := range elements {
			if e.set == set {
				of = append(of, e.written())
			}
		}
		if len(of) == 0 {
			continue
		}
		if err := change(set, of); err != nil {
			return err
		}
	}
	return nil
}
