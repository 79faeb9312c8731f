package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func TestNoLateEventOfTheWatchBringsBackWhatWasGiven(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	late := r.block()
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.until("it is given", func() bool { b := r.block(); return len(b.Of("n2")) > 0 })
	r.agrees()
	own := r.owns()
	for _, full := range []bool{false, true} {
		r.word(kv.Update[record.Block]{Full: full, Revision: late.Revision, Set: []record.Block{late}})
		if now := r.owns(); !slices.Equal(now, own) {
			t.Errorf("full %v: an update from before the transfer has made %v of %v", full, now, own)
		}
	}
}

func TestAPartInTheMiddleOfItsWayIsNotAddedByAnyEvent(t *testing.T) {
	r, _, _ := shared(t)
	r.add(r.tiny("a"))
	o := r.agent.addresses.Withdraw(tiny, func(s *allocator.Space) (netip.Prefix, bool) { return s.Half(clock.Boottime(), 0) })
	session, err := r.agent.Holding(allocator.Stateless)
	check(t, err)
	now, err := block.Resolve(t.Context(), session, o.Block)
	check(t, err)
	r.word(kv.Update[record.Block]{Revision: now.Revision, Set: []record.Block{now}})
	if slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(o.Part) }) {
		t.Errorf("the agent owns %v, and %v is on its way out", r.owns(), o.Part)
	}
	// In doubt it comes back with the first word that is newer than what was compared.
	r.agent.addresses.MarkIndeterminate(o)
	now, err = block.Resolve(t.Context(), session, now)
	check(t, err)
	r.word(kv.Update[record.Block]{Revision: now.Revision, Set: []record.Block{now}})
	if own := r.owns(); !slices.Equal(own, []netip.Prefix{now.Prefix}) || len(r.agent.addresses.Indeterminate()) > 0 {
		t.Errorf("the agent owns %v, and in doubt are %v", own, r.agent.addresses.Indeterminate())
	}
}

func TestWhatWasGivenIsOutBeforeTheWatchTells(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	session, err := r.agent.Holding(allocator.Stateless)
	check(t, err)
	for range 5 {
		d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
		check(t, err)
		if !r.agent.exchange.Donate(t.Context(), session, d, tiny) {
			t.Fatal("nothing was given")
		}
		own, b := r.owns(), r.block()
		for _, p := range b.Of("n2") {
			if slices.ContainsFunc(own, p.Prefix.Overlaps) {
				t.Errorf("the agent owns %v, and n2 has got %v", own, p.Prefix)
			}
		}
	}
}
