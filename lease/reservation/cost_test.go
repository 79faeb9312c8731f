package reservation_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// costs are the transactions and the reads that something takes.
func costs(b *lab.Bubble, what string, transactions int, do func() error) {
	b.Helper()
	sent, read := 0, 0
	b.OnCall(func(call string) {
		if strings.HasPrefix(call, "before txn") {
			sent++
		} else if strings.HasPrefix(call, "before get") {
			read++
		}
	})
	err := do()
	b.OnCall(nil)
	b.Check(err)
	if sent != transactions || read != 0 {
		b.Errorf("%s takes %d transactions and %d reads, want %d and none", what, sent, read, transactions)
	}
}

// followed is a store that hears of reservations and blocks.
func followed(b *lab.Bubble) *lab.Store {
	s := b.Store()
	b.Beside(func(ctx context.Context) { _ = s.Reservations.Follow(ctx, func(kv.Update[record.Reservation]) {}) })
	b.Beside(func(ctx context.Context) { _ = s.Blocks.Follow(ctx, s.Reservations.LearnBlocks) })
	time.Sleep(time.Second)
	return s
}

func TestAMemberThatIsKnownHereOrHeardOfCostsOneTransaction(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		here, there := b.Join(followed(b), "n1"), b.Join(followed(b), "n2")
		var had []record.Reservation
		free := netip.Addr{}
		reserve := func(x *lab.Joined, member int) func() error {
			return func() (err error) {
				q := lab.Asking(c, "both", lab.Identity("db", member), "c1")
				q.Taken = func(a netip.Addr) bool { return a == free }
				had, err = x.Reserve(b.Context(), []reservation.Request{q})
				return err
			}
		}
		detach := func(x *lab.Joined) func() error {
			return func() error {
				d := detachment(had[0])
				d.Addresses = append(d.Addresses, had[1].Address)
				return x.Store.Reservations.Detach(b.Context(), []reservation.Detachment{d})
			}
		}
		for member := range 3 {
			costs(b, "a new member", 1, reserve(here, member))
		}
		for member := range 3 {
			costs(b, "the same again", 1, reserve(here, member))
		}
		costs(b, "its detachment", 1, detach(here))
		costs(b, "its next container", 1, reserve(here, 2))
		costs(b, "its detachment", 1, detach(here))
		time.Sleep(time.Second)
		costs(b, "its next container elsewhere", 1, reserve(there, 2))
		time.Sleep(time.Second)
		costs(b, "its detachment from there", 1, detach(here))
		_, err := there.Store.Reservations.End(b.Context(), lab.Identity("db", 2), true)
		b.Check(err)
		costs(b, "a member that was ended here", 1, reserve(there, 2))
		time.Sleep(time.Second)
		_, err = there.Store.Reservations.End(b.Context(), lab.Identity("db", 2), true)
		b.Check(err)
		time.Sleep(time.Second)
		costs(b, "a member that was ended elsewhere", 1, reserve(here, 2))
		agree(b.Lab, here.Store, had...)
	})
}

func TestWhatCameToAnEndWhileNobodyWasHeardIsNotKnownAnyMore(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := followed(b)
		x := b.Join(s, "n1")
		b.Reserve(x, lab.Asking(c, "both", lab.Identity("db", 0), "c1"))
		time.Sleep(time.Second)
		b.Way.Set(etcd.Condition{Cut: true})
		b.Check(b.Server.Restart(time.Second)) // which ends each watch
		b.Delete(s.KV.Keys.Under(kv.KindReservation))
		b.Delete(s.KV.Keys.Under(kv.KindIdentity))
		b.Delete(s.KV.Keys.Under(kv.KindBlock))
		_, err := b.Raw().Compact(b.Context(), b.Put("/elsewhere", ""), clientv3.WithCompactPhysical())
		b.Check(err)
		b.Way.Set(etcd.Condition{})
		time.Sleep(time.Minute)
		if known := s.Reservations.Cached(lab.Identity("db", 0)); len(known) != 0 {
			t.Errorf("known is %+v", known)
		}
		costs(b, "a member that is new again", 1, func() error {
			return lab.Second(x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "both", lab.Identity("db", 0), "c1")}))
		})
	})
}

func TestLateNewsOfAReservationAreNotNewer(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := b.Store()
		x, hold := b.Join(s, "n1"), make(chan struct{})
		id := lab.Identity("db", 0)
		var heard atomic.Int64
		b.Beside(func(ctx context.Context) {
			_ = s.Reservations.Follow(ctx, func(u kv.Update[record.Reservation]) {
				if heard.Load() == 0 && len(u.Set) > 0 {
					<-hold
				} else if known := s.Reservations.Cached(id); !u.Full && (len(known) != 2 || known[0].Epoch != 3 || known[1].Epoch != 3) {
					t.Errorf("after news of %+v it knows %+v", u.Set, known)
				}
				heard.Add(int64(len(u.Set)))
			})
		})
		time.Sleep(time.Second)
		for range 3 {
			b.Reserve(x, lab.Asking(c, "both", id, "c1"))
		}
		time.Sleep(time.Second)
		close(hold)
		time.Sleep(time.Second)
		if heard.Load() != 6 {
			t.Errorf("it heard of %d", heard.Load())
		}
	})
}

func TestLateNewsOfAnEndForgetNoLaterReservation(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := b.Store()
		x, hold := b.Join(s, "n1"), make(chan struct{})
		id := lab.Identity("db", 0)
		ends := 0
		b.Beside(func(ctx context.Context) {
			_ = s.Reservations.Follow(ctx, func(u kv.Update[record.Reservation]) {
				if ends == 0 && len(u.Set) > 0 {
					<-hold
				} else if known := s.Reservations.Cached(id); len(u.Gone) > 0 && len(known) != 2 {
					t.Errorf("after news of %+v it knows %+v", u.Gone, known)
				}
				ends += len(u.Gone)
			})
		})
		time.Sleep(time.Second)
		for range 2 {
			b.Reserve(x, lab.Asking(c, "both", id, "c1"))
			time.Sleep(time.Second)
			_, err := s.Reservations.End(b.Context(), id, true)
			b.Check(err)
			time.Sleep(time.Second)
		}
		b.Reserve(x, lab.Asking(c, "both", id, "c1"))
		close(hold)
		time.Sleep(time.Second)
		if known := s.Reservations.Cached(id); len(known) != 2 {
			t.Errorf("after %d ends it knows %+v", ends, known)
		}
	})
}

func TestANodesOwnAddressIsReservedForNobody(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Small())
		x := b.Join(followed(b), "n1")
		b.Reserve(x, lab.Asking(c, "small", lab.Identity("db", 0), "c0", lab.Addr("10.1.0.8")))
		_, err := block.ClaimMachine(b.Context(), b.Join(s, "n9").Session, c.Pools["small"], c.PoolRevisions["small"], lab.Addr("10.1.0.9"), true)
		b.Check(err)
		time.Sleep(time.Second)
		if _, err := x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "small", lab.Identity("db", 1), "c1",
			lab.Addr("10.1.0.9"))}); err == nil || !strings.Contains(err.Error(), "node n9 itself") {
			t.Errorf("the address was asked for: %v", err)
		}
		for i := range 4 { // of 10.1.0.8 to 13 all others
			if got := b.Reserve(x, lab.Asking(c, "small", lab.Identity("db", i+1), "c")); got[0].Address == lab.Addr("10.1.0.9") {
				t.Error("it was given")
			}
		}
		if _, err := x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "small", lab.Identity("db", 9), "c9")}); err == nil {
			t.Error("a sixth address was given")
		}
	})
}
