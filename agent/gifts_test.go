package agent

import (
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
)

func TestWhatIsDemandedIsGivenToTheLastAddressAndNothingThatIsHeld(t *testing.T) {
	r, n2, _ := shared(t)
	held := r.add(r.tiny("a"))
	before := 13
	for before > 1 {
		d, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
		check(t, err)
		r.until("the demand is met", func() bool { all, err := r.store.Demands(t.Context()); return err == nil && len(all) == 0 })
		r.agrees()
		c := r.agent.pools.counts(tiny)
		if left := c.Free + c.Released + c.Held; left >= before || before-left > max(1, (before-1)/2) {
			t.Errorf("of %d addresses, one of them held, %d are left", before, left)
		} else {
			before = left
		}
		if b := r.block(); b.OwnerOf(held) != "n1" || d.Revision >= b.Revision {
			t.Errorf("after the gift the block is %+v, and %s is held on n1", b, held)
		}
	}
	// What is released then is given, too.
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.del(wire.Container{Network: "net", ID: "a", Interface: "eth0"})
	r.until("the last one is given", func() bool { b := r.block(); return b.OwnerOf(held) == "n2" })
	r.agrees()
	if n := r.agent.isolated.count(); n > 0 {
		t.Errorf("%d containers are isolated", n)
	}
	r.until("nothing is assigned", func() bool { return r.assigned(held) == nil })
}

func TestWhatAnAddHereWaitsForIsNotGiven(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	me := r.agent.waiters.join(tiny) // as many as there are addresses
	for range 11 {
		r.agent.waiters.join(tiny)
	}
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.demanded("n1")
	time.Sleep(100 * time.Millisecond)
	if b := r.block(); len(b.Of("n2")) > 0 {
		t.Errorf("the block is %+v, and all of it is waited for", b)
	}
	r.agent.waiters.leave(tiny, me)
	r.agent.freed(tiny)
	r.until("the one that nobody waits for is given", func() bool {
		b := r.block()
		theirs := b.Of("n2")
		return len(theirs) == 1 && theirs[0].Prefix == netip.MustParsePrefix("10.7.0.14/31") // with the broadcast address
	})
}
