package lease

import (
	"errors"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestWhatAnAbsentNodeHasIsTakenAndMarked(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	b, gone := l.away(config, "n2", "10.42.16.0/26")
	taker := l.join(l.store(), "n1")
	got, err := taker.TakeBlock(t.Context(), b, config.PoolRevisions["default"], gone)
	l.check(err)
	if !got.OwnedBy("n1") || !got.Parts[0].Taken || got.Revision <= b.Revision {
		t.Errorf("taken was %+v", got)
	}
	blocks, err := l.store().Blocks.List(t.Context())
	l.check(err)
	if len(blocks) != 1 || !blocks[0].OwnedBy("n1") || !blocks[0].Parts[0].Taken {
		t.Errorf("etcd has %+v", blocks)
	}
}

func TestOnlyTheAbsentNodesPartsAreTaken(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	b, gone := l.away(config, "n2", "10.42.16.0/26")
	b.Parts = []record.Part{{Prefix: prefix("10.42.16.0/27"), Owner: "n2"}, {Prefix: prefix("10.42.16.32/27"), Owner: "n3"}}
	b.Revision = l.put(s.KV.Keys.Block("default", b.Prefix), kv.Encode(b))
	got, err := l.join(s, "n1").TakeBlock(t.Context(), b, config.PoolRevisions["default"], gone)
	l.check(err)
	if got.Parts[0].Owner != "n1" || got.Parts[1].Owner != "n3" || got.Parts[1].Taken {
		t.Errorf("taken was %+v", got)
	}
}

func TestAReturnIsTheVeto(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	b, gone := l.away(config, "n2", "10.42.16.0/26")
	taker := l.join(l.store(), "n1")
	back := l.joinBriefly(l.store(), "n2")
	take := func() error {
		return second(taker.TakeBlock(t.Context(), b, config.PoolRevisions["default"], gone))
	}
	if err := take(); !errors.Is(err, block.ErrTaken) {
		t.Errorf("from a node that is back: %v", err)
	}
	l.absent(l.store(), "n2")
	if err := take(); !errors.Is(err, block.ErrTaken) {
		t.Errorf("from a node that was back in between, by the wait from before: %v", err)
	}
	gone.Revision = back.Generation()
	l.check(take())
}

func TestNothingIsTakenFromANodeThatIsThere(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	there := l.join(l.store(), "n2")
	b := l.claims(there, config, "10.42.16.0/26")
	taker := l.join(l.store(), "n1")
	err := second(taker.TakeBlock(t.Context(), b, config.PoolRevisions["default"], record.Absence{Node: "n2", Revision: there.Generation()}))
	if !errors.Is(err, block.ErrTaken) {
		t.Errorf("the error is %v", err)
	}
}

func TestOfTwoWhoTakeOneHasIt(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	b, gone := l.away(config, "n9", "10.42.16.0/26")
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for _, name := range []string{"n1", "n2", "n3", "n4"} {
		x := l.join(l.store(), name)
		all.Go(func() {
			got, err := x.TakeBlock(t.Context(), b, config.PoolRevisions["default"], gone)
			lost, is := errors.AsType[*block.LostError](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && got.OwnedBy(name):
				won++
			case !is || lost.Block.Revision == 0:
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d have it", won)
	}
}

func TestATakeByAnOlderConfigurationFails(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	b, gone := l.away(config, "n2", "10.42.16.0/26")
	if _, err := l.join(l.store(), "n1").TakeBlock(t.Context(), b, config.PoolRevisions["default"]-1, gone); !errors.Is(err,
		record.ErrStaleConfig) {
		t.Errorf("the error is %v", err)
	}
}

func TestAStrictNodesReservationMovesOnlyAfterTheWait(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	s := l.store()
	holder := brief("n2")
	holder.Fencing = record.FencingStrict
	x, err := s.Join(t.Context(), holder)
	l.check(err)
	had := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
	l.absent(s, "n2")

	mover := l.join(l.store(), "n1")
	asked := record.Absence{}
	ask := asking(config, "default", identity("db", 0), "c2")
	for what, waited := range map[string]func(record.Absence) bool{"nobody waits": nil,
		"the wait goes on": func(a record.Absence) bool { asked = a; return false }} {
		ask.Waited = waited
		if _, err := mover.Reserve(t.Context(), []reservation.Request{ask}); !isHeld(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if want := (record.Absence{Node: "n2", Revision: x.Generation()}); asked != want {
		t.Errorf("the wait that counts is %+v: want %+v", asked, want)
	}
	ask.Waited = func(record.Absence) bool { return true }
	moved := l.reserve(mover, ask)[0]
	if moved.Address != had.Address || moved.Holder.Node != "n1" || moved.Epoch <= had.Epoch {
		t.Errorf("it had %+v, and moved it is %+v", had, moved)
	}
}

// What a move rests upon is compared by it: who comes back in the moment before keeps what it has.
func TestAReturnIsTheVetoForAReservationToo(t *testing.T) {
	for what, comeBack := range map[string]func(l *lab, s *Store, holder record.Node){
		"it is there": func(l *lab, s *Store, holder record.Node) { l.join(s, holder.Name) },
		"it was there, and its session has ended": func(l *lab, s *Store, holder record.Node) {
			_, err := s.Join(l.Context(), holder)
			l.check(err)
			l.delete(s.KV.Keys.Session(holder.Name))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			holder := brief("n2")
			holder.Fencing = record.FencingStrict
			x, err := s.Join(t.Context(), holder)
			l.check(err)
			had := l.reserve(x, asking(config, "default", identity("db", 0), "c1"))[0]
			l.absent(s, "n2")

			ask := asking(config, "default", identity("db", 0), "c2")
			ask.Waited = func(a record.Absence) bool {
				if a.Revision != x.Generation() {
					return false
				}
				comeBack(l, s, holder)
				return true
			}
			if done, err := l.join(l.store(), "n1").Reserve(t.Context(), []reservation.Request{ask}); !isHeld(err) {
				t.Errorf("it moved to %+v: %v", done, err)
			}
			if r, err := s.Reservations.Of(t.Context(), "default", had.Address); err != nil || r.Revision != had.Revision {
				t.Errorf("the reservation is %+v, %v", r, err)
			}
		})
	}
}
