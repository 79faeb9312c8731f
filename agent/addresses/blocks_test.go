package addresses

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func TestTheNodesOwnAddressesAreItsPartsAndNobodyElses(t *testing.T) {
	part := func(prefix, owner, node string) record.Part {
		return record.Part{Prefix: netip.MustParsePrefix(prefix), Owner: owner, Node: node}
	}
	block := func(prefix string, parts ...record.Part) record.Block {
		return record.Block{Revision: 1, Pool: "tiny", Prefix: netip.MustParsePrefix(prefix), Parts: parts}
	}
	var b blocks
	b.Apply(kv.Update[record.Block]{Full: true, Revision: 1, Set: []record.Block{
		block("10.7.0.0/28", part("10.7.0.4/32", record.OwnerMachine, "n1"), part("10.7.0.5/32", record.OwnerMachine, "n2"),
			part("10.7.0.8/29", "n1", "")),
		block("10.7.0.16/28", part("10.7.0.16/28", "n1", "")),
		block("10.7.0.32/28", part("10.7.0.33/32", record.OwnerMachine, "n1")),
	}})
	all := b.Machines("n1")
	slices.SortFunc(all, func(x, y ipam.Address) int { return x.Addr.Compare(y.Addr) })
	want := []ipam.Address{{Pool: "tiny", Addr: netip.MustParseAddr("10.7.0.4")}, {Pool: "tiny", Addr: netip.MustParseAddr("10.7.0.33")}}
	if !slices.Equal(all, want) {
		t.Errorf("they are %v, want %v", all, want)
	}
}

func TestNoLateEventOfTheWatchBringsBackWhatWasReleased(t *testing.T) {
	k := ipam.BlockID{Pool: "tiny", Prefix: netip.MustParsePrefix("10.7.0.0/28")}
	block := func(revision int64) record.Block {
		return record.Block{Pool: k.Pool, Prefix: k.Prefix, Revision: revision, Parts: []record.Part{{Prefix: k.Prefix, Owner: "n1"}}}
	}
	for _, full := range []bool{false, true} {
		word := func(revision int64) kv.Update[record.Block] {
			return kv.Update[record.Block]{Full: full, Revision: revision, Set: []record.Block{block(revision)}}
		}
		var b blocks
		b.Put(block(5)) // claimed, and released at 6, before the watch has told of anything
		b.Ended(record.Block{Pool: k.Pool, Prefix: k.Prefix, Revision: 6})
		if b.Apply(word(5)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before the release counts: %v", full, b.all)
		}
		b.Apply(kv.Update[record.Block]{Revision: 6, Gone: []record.Block{block(5)}})
		if len(b.gone) > 0 {
			t.Errorf("full %v: the watch has passed the release, and it is remembered: %v", full, b.gone)
		}
		if b.Apply(word(7)); b.all[k].Revision != 7 {
			t.Errorf("full %v: a later claim is not known: %v", full, b.all)
		}
		// Settling has read that it is gone by 8, and a watch that is behind tells of 7 and of what is new.
		if b.settle(nil, 8); len(b.all) > 0 {
			t.Errorf("full %v: settled, and known are %v", full, b.all)
		}
		if b.Apply(word(7)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before settling counts: %v", full, b.all)
		}
		if b.Apply(word(9)); b.all[k].Revision != 9 {
			t.Errorf("full %v: what came after settling is not known: %v", full, b.all)
		}
	}
}
