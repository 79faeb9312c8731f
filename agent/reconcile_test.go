package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func TestNoLateWordOfTheWatchBringsBackWhatWasGiven(t *testing.T) {
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
			t.Errorf("full %v: a word from before the gift has made %v of %v", full, now, own)
		}
	}
}

func TestNoLateWordOfTheWatchBringsBackWhatWasReleased(t *testing.T) {
	k := blockKey{"tiny", netip.MustParsePrefix("10.7.0.0/28")}
	block := func(revision int64) record.Block {
		return record.Block{Pool: k.pool, Prefix: k.prefix, Revision: revision, Parts: []record.Part{{Prefix: k.prefix, Owner: "n1"}}}
	}
	for _, full := range []bool{false, true} {
		word := func(revision int64) kv.Update[record.Block] {
			return kv.Update[record.Block]{Full: full, Revision: revision, Set: []record.Block{block(revision)}}
		}
		var b blocks
		b.put(block(5)) // claimed, and released at 6, before the watch has told of anything
		b.ended(record.Block{Pool: k.pool, Prefix: k.prefix, Revision: 6})
		if b.take(word(5)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before the release counts: %v", full, b.all)
		}
		b.take(kv.Update[record.Block]{Revision: 6, Gone: []record.Block{block(5)}})
		if len(b.gone) > 0 {
			t.Errorf("full %v: the watch has passed the release, and it is remembered: %v", full, b.gone)
		}
		if b.take(word(7)); b.all[k].Revision != 7 {
			t.Errorf("full %v: a later claim is not known: %v", full, b.all)
		}
		// Settling has read that it is gone by 8, and a watch that is behind tells of 7 and of what is new.
		if b.settle(nil, 8); len(b.all) > 0 {
			t.Errorf("full %v: settled, and known are %v", full, b.all)
		}
		if b.take(word(7)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before settling counts: %v", full, b.all)
		}
		if b.take(word(9)); b.all[k].Revision != 9 {
			t.Errorf("full %v: what came after settling is not known: %v", full, b.all)
		}
	}
}

func TestAPartInTheMiddleOfItsWayIsNotAddedByAnyWord(t *testing.T) {
	r, _, _ := shared(t)
	r.add(r.tiny("a"))
	o := r.agent.takeOut(tiny, func(s *allocator.Space) (netip.Prefix, bool) { return s.Half(wire.Boottime(), 0) })
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	now, err := block.Resolve(t.Context(), session, o.block)
	check(t, err)
	r.word(kv.Update[record.Block]{Revision: now.Revision, Set: []record.Block{now}})
	if slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(o.part) }) {
		t.Errorf("the agent owns %v, and %v is on its way out", r.owns(), o.part)
	}
	// In doubt it comes back with the first word that is newer than what was compared.
	r.agent.doubt(o)
	now, err = block.Resolve(t.Context(), session, now)
	check(t, err)
	r.word(kv.Update[record.Block]{Revision: now.Revision, Set: []record.Block{now}})
	if own := r.owns(); !slices.Equal(own, []netip.Prefix{now.Prefix}) || len(r.agent.doubts()) > 0 {
		t.Errorf("the agent owns %v, and in doubt are %v", own, r.agent.doubts())
	}
}

func TestWhatWasGivenIsOutBeforeTheWatchTells(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	for range 5 {
		d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
		check(t, err)
		if !r.agent.give(t.Context(), session, d, tiny) {
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
