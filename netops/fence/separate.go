package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// A Range is the addresses from From to To, both of one family and both inside it.
type Range struct{ From, To netip.Addr }

// intervals are the addresses that isolated ports do not exchange packets with, as the sets of both tables have them.
type intervals struct{ v4, v6 []nftables.SetElement }

func (a *intervals) equal(b *intervals) bool {
	return sameElements(a.v4, b.v4) && sameElements(a.v6, b.v6)
}

// Separate says with which addresses isolated ports exchange nothing over this node, besides each other: all of these, in any order, and
// no others. Until it is called, what the kernel has stays.
func (t *Table) Separate(from []Range) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	want := intervalsOf(from)
	if t.apart != nil && t.apart.equal(want) {
		return t.settle()
	}
	if err := t.change(func(c *nftables.Conn) error { return want.set(c) }); err != nil {
		return fmt.Errorf("fence: separate isolated ports: %w", err)
	}
	t.apart = want
	return nil
}

func intervalsOf(ranges []Range) *intervals {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b Range) int { return a.From.Compare(b.From) })
	sixth := slices.IndexFunc(sorted, func(r Range) bool { return r.From.Is6() })
	if sixth < 0 {
		sixth = len(sorted)
	}
	return &intervals{elementsFor(sorted[:sixth]), elementsFor(sorted[sixth:])}
}

// set makes the sets of both tables these.
func (a *intervals) set(c *nftables.Conn) error {
	clearBoth(c, apartV4)
	clearBoth(c, apartV6)
	return errors.Join(addBoth(c, apartV4, a.v4), addBoth(c, apartV6, a.v6))
}

// adoptApart reads what the kernel's tables separate. Where one has lost it, the other's counts.
func (t *Table) adoptApart() error {
	held := [len(tables)]intervals{}
	err := t.commit(func(c *nftables.Conn) (err error) {
		for i, table := range tables {
			if held[i].v4, err = c.GetSetElements(of(table, apartV4)); err != nil {
				return err
			}
			if held[i].v6, err = c.GetSetElements(of(table, apartV6)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("what isolated ports do not reach: %w", err)
	}
	t.apart = &held[0]
	if len(held[0].v4)+len(held[0].v6) == 0 {
		t.apart = &held[1]
	}
	t.diverged = t.diverged || !held[0].equal(&held[1])
	return nil
}
