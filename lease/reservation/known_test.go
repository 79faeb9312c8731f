package reservation_test

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

func TestWhatIsHeardOfOneBlockLeavesTheOthersKnown(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), lab.Smallest())
		x, other := b.Join(followed(b), "n1"), b.Join(b.Store(), "n2")
		for i, a := range []string{"10.42.3.1", "10.42.4.1"} {
			b.Reserve(other, lab.Asking(c, "default", lab.Identity("db", i), "c", lab.Addr(a)))
			time.Sleep(time.Second)
		}
		for i, a := range []string{"10.42.3.2", "10.42.4.2"} {
			costs(b, "a new member in a known block", 1, func() error {
				return lab.Second(x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "default", lab.Identity("new", i), "c", lab.Addr(a))}))
			})
		}
	})
}

func TestLateNewsOfABlockAreNotNewer(t *testing.T) {
	inScene(t, func(sc *scene) {
		pool := sc.c.Pools["default"]
		former := record.StatefulBlock(blockOf(pool, sc.had.Address))
		former.Revision = sc.had.Revision
		own := sc.had.Address.Next()
		block := former.With(record.Part{Prefix: netip.PrefixFrom(own, 32), Owner: record.OwnerMachine, Node: "n9"})
		block.Revision = sc.Put(sc.s.KV.Keys.Block("default", block.Prefix), kv.Encode(block))
		for _, b := range []record.Block{block, former} {
			sc.s.Reservations.LearnBlocks(kv.Update[record.Block]{Revision: block.Revision, Set: []record.Block{b}})
		}
		costs(sc.Bubble, "a new member", 1, func() error {
			q := lab.Asking(sc.c, "default", lab.Identity("db", 1), "c2", own.Next())
			return lab.Second(sc.x.Reserve(sc.Context(), []reservation.Request{q}))
		})
		q := lab.Asking(sc.c, "default", lab.Identity("db", 2), "c3", own)
		if _, err := sc.x.Reserve(sc.Context(), []reservation.Request{q}); err == nil || !lab.Contains(err, "node n9 itself") {
			t.Errorf("%s is asked for: %v", own, err)
		}
	})
}

func TestADetachmentIsKnownToWhoMadeIt(t *testing.T) {
	inScene(t, func(sc *scene) {
		for i, store := range []*lab.Store{sc.s, sc.Store()} { // with a cached reservation, and without
			x := &lab.Joined{Session: sc.x.Session, Store: store}
			if i == 0 {
				sc.had = sc.Reserve(x, lab.Asking(sc.c, "default", sc.id, "c1"))[0]
			}
			sc.Check(store.Reservations.Detach(sc.Context(), []reservation.Detachment{detachment(sc.had)}))
			costs(sc.Bubble, "its next container", 1, func() error {
				got, err := x.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", sc.id, "next")})
				if err == nil {
					sc.had = got[0]
				}
				return err
			})
		}
	})
}

func TestADetachmentOfBothFamiliesGoesOnWhereOneIsGone(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		had := b.Reserve(b.Join(s, "n1"), lab.Asking(c, "both", lab.Identity("db", 0), "c1"))
		b.Delete(s.KV.Keys.Reservation("both", had[1].Address))
		d := detachment(had[0])
		d.Addresses = append(d.Addresses, had[1].Address)
		b.Check(b.Store().Reservations.Detach(b.Context(), []reservation.Detachment{d}))
		if left, err := s.Reservations.Of(b.Context(), "both", had[0].Address); err != nil || left.Holder != nil {
			t.Errorf("left is %+v, %v", left, err)
		}
	})
}

func TestWhatNobodyHoldsEndsWithoutForce(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.Check(sc.s.Reservations.Detach(sc.Context(), []reservation.Detachment{detachment(sc.had)}))
		if ended, err := sc.s.Reservations.End(sc.Context(), sc.id, false); err != nil || len(ended) != 1 {
			t.Errorf("ended is %+v, %v", ended, err)
		}
	})
}

func TestWhatEndsLeavesNothingBehindInMemory(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := followed(b)
		other := b.Join(b.Store(), "n2")
		for i := range 3 {
			b.Reserve(other, lab.Asking(c, "both", lab.Identity("db", i), "c"))
		}
		time.Sleep(time.Second)
		before := s.Reservations.Known()
		for i := range 3 {
			_, err := other.Store.Reservations.End(b.Context(), lab.Identity("db", i), true)
			b.Check(err)
		}
		time.Sleep(time.Second)
		if now := s.Reservations.Known(); before != 3 || now != 0 {
			t.Errorf("%d members are known, and %d when they have ended", before, now)
		}
	})
}

// A reservation before a member runs is answered by what etcd has, not by what this process remembers.
func TestReservingAgainBeforeAMemberRunsAnswersWhatThereIs(t *testing.T) {
	inScene(t, func(sc *scene) {
		pool, revision := sc.c.Pools["default"], sc.c.PoolRevisions["default"]
		id, asked := lab.Identity("db", 5), []netip.Addr{lab.Addr("10.42.9.9")}
		_, err := sc.s.Reservations.ReserveFor(sc.Context(), pool, revision, id, nil)
		sc.Check(err)
		other := sc.Store()
		_, err = other.Reservations.End(sc.Context(), id, true)
		sc.Check(err)
		now, err := other.Reservations.ReserveFor(sc.Context(), pool, revision, id, asked)
		sc.Check(err)
		if got, err := sc.s.Reservations.ReserveFor(sc.Context(), pool, revision, id, nil); err != nil || got[0].Address != asked[0] ||
			got[0].Revision != now[0].Revision {
			t.Errorf("it is answered %+v, %v, and there is %+v", got, err, now)
		}
		transactions := 0
		sc.OnCall(func(call string) {
			if strings.HasPrefix(call, "before txn") {
				transactions++
			}
		})
		_, err = other.Reservations.ReserveFor(sc.Context(), pool, revision, id, nil)
		if sc.OnCall(nil); err != nil || transactions != 1 {
			t.Errorf("one that is as it is wanted takes %d transactions: %v", transactions, err)
		}
	})
}

func TestAReservationThatIsLostWhileItsMemberRunsIsMadeAgainBesideIt(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		id := lab.Identity("db", 0)
		had := b.Reserve(b.Join(s, "n1"), lab.Asking(c, "both", id, "c1"))
		b.Delete(s.KV.Keys.Reservation("both", had[1].Address))
		got, err := b.Store().Reservations.ReserveFor(b.Context(), c.Pools["both"], c.PoolRevisions["both"], id, nil)
		if err != nil || got[1].Address != had[1].Address || !got[0].Holder.Is(lab.Attachment("c1"), "n1") {
			t.Errorf("it had %+v, and has %+v, %v", had, got, err)
		}
	})
}

// A detachment of any former epoch may be under way yet.
func TestAReservationThatIsMadeAgainHasALaterEpochThanItsSisterEverHad(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		x := b.Join(s, "n1")
		q := lab.Asking(c, "both", lab.Identity("db", 0), "c1")
		var had []record.Reservation
		for range 30 {
			had = b.Reserve(x, q)
		}
		b.Delete(s.KV.Keys.Reservation("both", had[1].Address))
		again := b.Reserve(&lab.Joined{Session: x.Session, Store: b.Store()}, q)
		if again[0].Epoch <= had[0].Epoch || again[1].Epoch != again[0].Epoch {
			t.Errorf("of epoch %d it became %d and %d", had[0].Epoch, again[0].Epoch, again[1].Epoch)
		}
	})
}

func TestWhoseIdentityGetsAnotherAddressMeanwhileKeepsThatOneAlone(t *testing.T) {
	inScene(t, func(sc *scene) {
		identity := sc.s.KV.Keys.Identity(sc.id)
		sc.Delete(identity)
		other := kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{lab.Addr("10.42.9.9")}})
		tries := 0
		sc.OnCall(func(call string) {
			if strings.HasPrefix(call, "before txn") {
				if tries++; tries == 2 { // the first has read that there is none
					sc.Put(identity, other)
				}
			}
		})
		_, _ = sc.reserve(0, "c1")
		sc.OnCall(nil)
		if now := sc.value(identity); tries < 2 || now != other {
			t.Errorf("after %d tries the identity is %s", tries, now)
		}
	})
}

func TestTheRecordOfAnIdentityIsWrittenOnceAndAgainWhereItIsMissing(t *testing.T) {
	inScene(t, func(sc *scene) {
		key := sc.s.KV.Keys.Identity(sc.id)
		pool, revision := sc.c.Pools["default"], sc.c.PoolRevisions["default"]
		at := func() int64 {
			got, err := sc.Raw().Get(sc.Context(), key)
			sc.Check(err)
			return kv.RevisionOf(got.Kvs)
		}
		first := at()
		sc.Check(lab.Second(sc.reserve(0, "c1")))
		if at() != first {
			t.Error("it is written by a repeated request")
		}
		sc.Delete(key)
		sc.Check(lab.Second(sc.Store().Reservations.ReserveFor(sc.Context(), pool, revision, sc.id, nil)))
		if at() == 0 {
			t.Error("while the member runs it is not made again")
		}
	})
}

func TestInARecoveryNothingIsReservedAndEtcdIsNotAsked(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.Void(sc.s)
		x := sc.Join(sc.s, "n1")
		calls := 0
		sc.OnCall(func(string) { calls++ })
		_, err := x.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", sc.id, "c1")})
		if sc.OnCall(nil); !errors.Is(err, session.ErrRecovering) || calls > 0 {
			t.Errorf("after %d calls: %v", calls, err)
		}
		pool, revision := sc.c.Pools["default"], sc.c.PoolRevisions["default"]
		_, err = sc.s.Reservations.ReserveFor(sc.Context(), pool, revision, lab.Identity("db", 1), nil)
		if !errors.Is(err, session.ErrRecovering) {
			t.Errorf("before a member runs: %v", err)
		}
	})
}

func TestAReservationWhoseAnswerIsLostIsTriedAgain(t *testing.T) {
	inScene(t, func(sc *scene) {
		lost := 0
		sc.OnCall(func(call string) {
			if strings.HasPrefix(call, "before txn") {
				sc.Way.Set(etcd.Condition{CutBack: lost == 0})
				lost++
			}
		})
		got, err := sc.reserve(1, "c2")
		sc.OnCall(nil)
		sc.Way.Set(etcd.Condition{})
		if err != nil || lost < 2 {
			t.Errorf("by %d tries it has %+v, %v", lost, got, err)
		}
		agree(sc.Lab, sc.s, got)
	})
}

func TestReservationsAreListedAndFollowedInOrderUntilTheCallerEnds(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Smallest(), lab.Small())
		x := b.Join(s, "n1")
		for i, a := range []string{"10.42.0.100", "10.42.0.20", "10.42.0.3"} {
			b.Reserve(x, lab.Asking(c, "default", lab.Identity("db", i), "c", lab.Addr(a)))
		}
		b.Reserve(x, lab.Asking(c, "small", lab.Identity("db", 3), "c"))
		all, err := s.Reservations.List(b.Context())
		b.Check(err)
		if !slices.IsSortedFunc(all, func(a, b record.Reservation) int {
			return cmp.Or(cmp.Compare(a.Pool, b.Pool), a.Address.Compare(b.Address))
		}) || len(all) != 4 {
			t.Errorf("listed are %+v", all)
		}
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		if err := s.Reservations.Follow(ctx, func(kv.Update[record.Reservation]) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("the following ends with %v", err)
		}
	})
}
