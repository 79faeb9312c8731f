package fence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// slotState is what is known of the classes' slots, and whether strict mode is on.
type slotState struct {
	on    bool
	last  [len(classes)]int // of each class: the slot that was opened last
	armed []int             // the classes whose other slot is armed and waits for Open
}

// other is the slot of a class that is not in use.
func (s *slotState) other(class int) int { return (s.last[class] + 1) % slots }

// renew closes a slot and starts its timer anew. An add alone changes no timer on older kernels, and a deletion alone
// fails where there is nothing to delete: so each deletion has an add before it. Nothing of it is seen before the
// transaction's end.
func renew(c *nftables.Conn, class, slot int, d time.Duration) error {
	return errors.Join(
		addBoth(c, locks, lock(class, slot)),
		removeBoth(c, locks, lock(class, slot)),
		restart(c, timer(class, slot, d)))
}

func restart(c *nftables.Conn, timer []nftables.SetElement) error {
	return errors.Join(
		addBoth(c, timers, timer), removeBoth(c, timers, timer), addBoth(c, timers, timer))
}

func lock(class, slot int) []nftables.SetElement {
	return []nftables.SetElement{{Key: slotKey(class, slot)}}
}

func timer(class, slot int, d time.Duration) []nftables.SetElement {
	return []nftables.SetElement{{Key: slotKey(class, slot), Timeout: d}}
}

// gates counts the ways from a base chain into a class's chain.
func (c *connection) gates() (n int, err error) {
	err = c.commit(func(conn *nftables.Conn) error {
		for _, table := range tables {
			for _, side := range sides {
				rules, err := conn.GetRules(table, &nftables.Chain{Name: side.name})
				if err != nil { // without the table there are none, and no error
					return err
				}
				n += gatesAmong(rules)
			}
		}
		return nil
	})
	return n, err
}

func gatesAmong(rules []*nftables.Rule) (n int) {
	for _, r := range rules {
		for _, e := range r.Exprs {
			if v, ok := e.(*expr.Verdict); ok && v.Kind == expr.VerdictGoto {
				n++
			}
		}
	}
	return n
}

// openSlots returns how long each slot is still open; 0: it is closed.
func (c *connection) openSlots() (open [len(classes)][slots]time.Duration, err error) {
	err = c.commit(func(conn *nftables.Conn) error {
		var held [2][]nftables.SetElement
		for i, set := range [...]*nftables.Set{locks, timers} {
			var err error
			if held[i], err = conn.GetSetElements(set); err != nil {
				return fmt.Errorf("set %s: %w", set.Name, err)
			}
		}
		for class := range classes {
			for slot := range slots {
				is := func(e nftables.SetElement) bool { return slices.Equal(e.Key, slotKey(class, slot)) }
				if i := slices.IndexFunc(held[1], is); i >= 0 && slices.ContainsFunc(held[0], is) {
					open[class][slot] = held[1][i].Expires
				}
			}
		}
		return nil
	})
	return open, err
}
