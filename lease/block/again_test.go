package block_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// What is tried again after its answer was lost.

func TestWhatIsReleasedTwiceIsReleased(t *testing.T) {
	l, revision, n, b := given(t)
	part := lab.Prefix("10.42.16.32/27")
	rest, err := block.Release(t.Context(), n[0].Session, b, part)
	l.Check(err)
	l.Claims(n[1], configOf(l), "10.42.17.0/26") // etcd goes on meanwhile
	again, err := block.Release(t.Context(), n[0].Session, b, part)
	if err != nil || again.Revision != rest.Revision || !slices.Equal(again.Parts, rest.Parts) {
		t.Errorf("the block is %+v, %v: want %+v", again, err, rest)
	}
	gone, err := block.Release(t.Context(), n[0].Session, rest, b.Prefix)
	l.Check(err)
	again, err = block.Release(t.Context(), n[0].Session, rest, b.Prefix)
	if err != nil || len(again.Parts) > 0 || again.Revision < gone.Revision {
		t.Errorf("a block that is nobody's is %+v, %v: want one at revision %d or later", again, err, gone.Revision)
	}
	_, err = block.Claim(t.Context(), n[0].Session, "default", revision, b.Prefix)
	l.Check(err)
	if lost, is := errors.AsType[*block.LostError](lab.Second(block.Release(t.Context(), n[0].Session, b, part))); !is ||
		!lab.Contains(lost, `block 10.42.16.0/26 of pool "default" has changed`) {
		t.Errorf("what was claimed again since: %v", lost)
	}
}

func TestResolvingByWhatIsOutOfDateWritesNothing(t *testing.T) {
	l, _, n, b := given(t)
	now, err := block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.32/27"), l.Demand(n[1]))
	l.Check(err)
	got, err := block.Resolve(t.Context(), n[0].Session, b)
	if err != nil || got.Revision != now.Revision || !slices.Equal(got.Parts, now.Parts) {
		t.Errorf("the block is %+v, %v: want %+v", got, err, now)
	}
	if got := blockNow(l); got.Revision != now.Revision {
		t.Errorf("etcd has %+v: want %+v", got, now)
	}
}

func TestWhatIsTakenOverTwiceIsTakenOver(t *testing.T) {
	l := lab.New(t)
	c := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(c, "n2", "10.42.16.0/26")
	x := l.Join(l.Store(), "n1")
	first, err := block.TakeOver(t.Context(), x.Session, b, c.PoolRevisions["default"], gone)
	l.Check(err)
	again, err := block.TakeOver(t.Context(), x.Session, b, c.PoolRevisions["default"], gone)
	if err != nil || again.Revision != first.Revision || !lab.OwnedBy(again, "n1") {
		t.Errorf("the block is %+v, %v: want %+v", again, err, first)
	}
}

func TestATransferOfANodesOwnAddressIsKnownAgain(t *testing.T) {
	l, revision, n, b := given(t)
	part := lab.Prefix("10.42.16.9/32")
	demand := func(x *lab.Joined, text ...string) record.Demand {
		d := record.Demand{Pool: "default", V4: 1}
		for _, a := range text {
			d.Machine = append(d.Machine, lab.Addr(a))
		}
		d, err := block.Demand(t.Context(), x.Session, d)
		l.Check(err)
		return d
	}
	d := demand(n[1], "10.42.16.9", "10.42.16.32")
	first, err := block.Transfer(t.Context(), n[0].Session, b, part, d)
	l.Check(err)
	if again, err := block.Transfer(t.Context(), n[0].Session, b, part, d); err != nil || again.Revision != first.Revision {
		t.Errorf("the block is %+v, %v: want %+v", again, err, first)
	}
	lost := func(what string, b record.Block, d record.Demand) {
		t.Helper()
		if _, is := errors.AsType[*block.LostError](lab.Second(block.Transfer(t.Context(), n[0].Session, b, part, d))); !is {
			t.Errorf("%s counts as transferred", what)
		}
	}
	lost("a machine's address, to a node that wants one for containers", b, demand(n[2]))
	// A larger part that begins with an address of the node itself is for its containers.
	d = demand(n[1], "10.42.16.32")
	after, err := block.Transfer(t.Context(), n[0].Session, first, lab.Prefix("10.42.16.32/27"), d)
	if err != nil || after.OwnerOf(lab.Addr("10.42.16.32")) != "n2" {
		t.Errorf("the block is %+v, %v", after, err)
	}
	free, err := block.ReleaseMachine(t.Context(), n[1].Session, configOf(l).Pools["default"], revision, part.Addr())
	l.Check(err)
	if free.OwnerOf(part.Addr()) != "" {
		t.Fatalf("the block is %+v", free)
	}
	lost("an address that is nobody's by now", b, demand(n[1], "10.42.16.9"))
}

func TestATransferIsToAnotherNodeAndOfTheDemandedPoolAndOfSixtyFourAddressesAtMost(t *testing.T) {
	l, _, n, b := given(t)
	for what, change := range map[string]func(*record.Demand){
		"to itself":       func(d *record.Demand) { d.Node = "n1" },
		"of another pool": func(d *record.Demand) { d.Pool = "other" },
	} {
		d := l.Demand(n[1])
		change(&d)
		if _, is := errors.AsType[*block.LostError](lab.Second(block.Transfer(t.Context(), n[0].Session, b, b.Prefix, d))); !is {
			t.Errorf("%s it was transferred", what)
		}
	}
	after, err := block.Transfer(t.Context(), n[0].Session, b, b.Prefix, l.Demand(n[1]))
	if err != nil || !lab.OwnedBy(after, "n2") {
		t.Errorf("all 64: %+v, %v", after, err)
	}
}

func TestAnOwnAddressIsGivenUpWhateverIsReservedThere(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	_, err := l.OwnAddress(x, c, "10.42.0.9", false)
	l.Check(err)
	l.Put(s.KV.Keys.Reservation("default", lab.Addr("10.42.0.9")), kv.Encode(record.Reservation{Identity: lab.Identity("db", 1)}))
	_, err = block.ReleaseMachine(t.Context(), x.Session, c.Pools["default"], c.PoolRevisions["default"], lab.Addr("10.42.0.9"))
	if err != nil || l.MachineOf(s, "10.42.0.9") != "" {
		t.Errorf("it is node %q's own, %v", l.MachineOf(s, "10.42.0.9"), err)
	}
}

func TestOfABlockThatNodesHaveOnlyTheOwnAddressChanges(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	// It lies in a stateful range, and was claimed before that was one.
	b := record.Block{Pool: "default", Prefix: lab.Prefix("10.42.0.64/26"), Parts: lab.Parts("10.42.0.64/27", "n1")}
	l.Put(s.KV.Keys.Block("default", b.Prefix), kv.Encode(b))
	after, err := l.OwnAddress(x, c, "10.42.0.65", true)
	l.Check(err)
	if !slices.Equal(after.Uncovered(), []netip.Prefix{lab.Prefix("10.42.0.96/27")}) || after.OwnerOf(lab.Addr("10.42.0.66")) != "n1" {
		t.Errorf("the block is %+v", after)
	}
}

func configOf(l *lab.Lab) *config.Config {
	l.Helper()
	c, err := l.Store().Config.Read(l.Context())
	l.Check(err)
	return c
}
