package reservation_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestWhatEtcdDoesNotAnswerOfReservationsIsNeitherAbsentNorDone(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), both())
		s := b.Store()
		lasting := lab.Node("n1")
		lasting.Session, lasting.AddressLease = allocator.Duration(24*time.Hour), allocator.Duration(24*time.Hour)
		x, err := s.Join(b.Context(), lasting)
		b.Check(err)
		id := lab.Identity("db", 0)
		ask := lab.Asking(c, "both", id, "c1")
		fresh := func() *lab.Joined { // that has cached nothing
			return &lab.Joined{Session: x.Session, Store: b.Store()}
		}
		reserve := func() error { return lab.Second(fresh().Reserve(b.Context(), []reservation.Request{ask})) }
		none := func() { b.Delete(s.KV.Keys.Under(kv.KindReservation)); b.Delete(s.KV.Keys.Under(kv.KindIdentity)) }
		var had []record.Reservation
		here := func() { none(); had = b.Reserve(x, ask) }
		let := func() reservation.Detachment {
			return reservation.Detachment{Pool: "both", Addresses: []netip.Addr{had[0].Address, had[1].Address}, Identity: id,
				Attachment: lab.Attachment("c1"), Epoch: had[0].Epoch}
		}
		b.Throughout("a reservation", none, reserve)
		b.Throughout("one of a known member", here, reserve)
		b.Throughout("one before a member runs", none, func() error {
			return lab.Second(s.Reservations.ReserveFor(b.Context(), c.Pools["both"], c.PoolRevisions["both"], id, nil))
		})
		b.Throughout("an assertion", none, func() error {
			_, _, err := reservation.Assert(b.Context(), x.Session, reservation.Assertion{Pool: c.Pools["both"], Identity: id,
				Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{lab.Addr("10.2.0.9"), lab.Addr("fd00::9")}, Epoch: 1})
			return err
		})
		b.Throughout("a detachment", here, func() error {
			return b.Store().Reservations.Detach(b.Context(), []reservation.Detachment{let()})
		})
		b.Throughout("an end", here, func() error { return lab.Second(s.Reservations.End(b.Context(), id, true)) })
		b.Throughout("the end of what was not answered", here, func() error { return s.Reservations.EndMade(b.Context(), let()) })
		b.Throughout("a list", here, func() error { return lab.Second(s.Reservations.List(b.Context())) })
		b.Throughout("a look", here, func() error { return lab.Second(s.Reservations.Of(b.Context(), "both", had[0].Address)) })
	})
}

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
		b.Delete(s.KV.Keys.Under(kv.KindReservation))
		b.Delete(s.KV.Keys.Under(kv.KindIdentity))
		b.Delete(s.KV.Keys.Under(kv.KindBlock))
		_, err := b.Raw().Compact(b.Context(), b.Put("/elsewhere", ""), clientv3.WithCompactPhysical())
		b.Check(err)
		b.Check(b.Server.Restart(time.Second)) // which ends each watch
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
		heard := 0
		b.Beside(func(ctx context.Context) {
			_ = s.Reservations.Follow(ctx, func(u kv.Update[record.Reservation]) {
				if heard == 0 && len(u.Set) > 0 {
					<-hold
				} else if known := s.Reservations.Cached(id); !u.Full && (len(known) != 2 || known[0].Epoch != 3 || known[1].Epoch != 3) {
					t.Errorf("after news of %+v it knows %+v", u.Set, known)
				}
				heard += len(u.Set)
			})
		})
		time.Sleep(time.Second)
		for range 3 {
			b.Reserve(x, lab.Asking(c, "both", id, "c1"))
		}
		time.Sleep(time.Second)
		close(hold)
		time.Sleep(time.Second)
		if heard != 6 {
			t.Errorf("it heard of %d", heard)
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

func TestAnAssertionChangesOnlyWhatIsMissing(t *testing.T) {
	for what, tc := range map[string]struct {
		lose  func(b *lab.Bubble, keys kv.Keys, had []record.Reservation)
		epoch int64    // after it, of both
		kept  []string // whose records are as they were
		costs int
	}{
		"nothing is missing": {func(*lab.Bubble, kv.Keys, []record.Reservation) {}, 2, []string{"identity", "first", "second", "block"}, 1},
		"one reservation": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			b.Delete(keys.Reservation("both", had[1].Address))
		}, 2, []string{"identity", "block"}, 2},
		"the identity": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) { b.Delete(keys.Identity(had[0].Identity)) }, 2,
			[]string{"block"}, 2},
		"one has a later epoch": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			r := had[1]
			r.Epoch = 7
			b.Put(keys.Reservation("both", r.Address), kv.Encode(r))
		}, 7, []string{"identity", "block"}, 2},
		"one was given up since": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			r, now := had[1], time.Now()
			r.Holder, r.Ended, r.LastDel = nil, &now, &now
			b.Put(keys.Reservation("both", r.Address), kv.Encode(r))
		}, 3, []string{"identity", "block"}, 2},
	} {
		t.Run(what, func(t *testing.T) {
			lab.InBubble(t, func(b *lab.Bubble) {
				s := b.Store()
				c := b.Apply(s, both())
				x := b.Join(s, "n1")
				id := lab.Identity("db", 0)
				b.Reserve(x, lab.Asking(c, "both", id, "c1"))
				had := b.Reserve(x, lab.Asking(c, "both", id, "c1"))
				keys := s.KV.Keys
				pool := c.Pools["both"]
				revisions := func() map[string]int64 {
					all := map[string]int64{}
					for name, key := range map[string]string{"identity": keys.Identity(id), "first": keys.Reservation("both", had[0].Address),
						"second": keys.Reservation("both", had[1].Address), "block": keys.Block("both", pool.BlockOf(had[0].Address))} {
						got, err := b.Raw().Get(b.Context(), key)
						b.Check(err)
						all[name] = kv.RevisionOf(got.Kvs)
					}
					return all
				}
				tc.lose(b, keys, had)
				before := revisions()
				time.Sleep(10 * time.Second)
				var epoch int64
				costs(b, "it", tc.costs, func() (err error) {
					var ok bool
					epoch, ok, err = reservation.Assert(b.Context(), x.Session, reservation.Assertion{Pool: pool, Identity: id,
						Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{had[0].Address, had[1].Address}, Epoch: had[0].Epoch})
					if !ok {
						t.Error("it is another's")
					}
					return err
				})
				after := revisions()
				for _, name := range tc.kept {
					if after[name] != before[name] {
						t.Errorf("the %s was written", name)
					}
				}
				for i := range had {
					now, err := s.Reservations.Of(b.Context(), "both", had[i].Address)
					b.Check(err)
					if epoch != tc.epoch || now.Epoch != epoch || !now.Holder.Is(lab.Attachment("c1"), "n1") || now.Ended != nil || now.LastDel != nil {
						t.Errorf("asserted with epoch %d it is %+v, want epoch %d", epoch, now, tc.epoch)
					}
				}
				first, err := s.Reservations.Of(b.Context(), "both", had[0].Address)
				b.Check(err)
				if !first.Since.Equal(had[0].Since) || !first.Holder.Since.Equal(had[0].Holder.Since) {
					t.Errorf("it is reserved and held since %s and %s, not %s and %s", first.Since, first.Holder.Since, had[0].Since, had[0].Holder.Since)
				}
			})
		})
	}
}

func TestADetachmentOfBothFamiliesLeavesNoneBehindWhereOneIsNotKnownHere(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		x := b.Join(s, "n1")
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = s.Reservations.Follow(ctx, func(kv.Update[record.Reservation]) {})
		}()
		had := b.Reserve(x, lab.Asking(c, "both", lab.Identity("db", 0), "c1"))
		key := s.KV.Keys.Reservation("both", had[1].Address)
		got, err := b.Raw().Get(b.Context(), key)
		b.Check(err)
		b.Delete(key)
		time.Sleep(time.Second)
		stop()
		<-ended
		if known := s.Reservations.Cached(lab.Identity("db", 0)); len(known) != 1 {
			t.Fatalf("it knows of %+v", known)
		}
		b.Put(key, string(got.Kvs[0].Value))
		d := detachment(had[0])
		d.Addresses = append(d.Addresses, had[1].Address)
		b.Check(s.Reservations.Detach(b.Context(), []reservation.Detachment{d}))
		all, err := s.Reservations.List(b.Context())
		b.Check(err)
		if len(all) != 2 || slices.ContainsFunc(all, func(r record.Reservation) bool { return r.Holder != nil }) {
			t.Errorf("there are %+v", all)
		}
	})
}

func TestRefusalsNameWhatAPersonHasToKnow(t *testing.T) {
	r := record.Reservation{Pool: "default", Address: lab.Addr("10.42.0.9"), Identity: lab.Identity("db", 0),
		Holder: &record.Holder{Attachment: lab.Attachment("c1"), Node: "n2", Since: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)}}
	for want, err := range map[string]error{
		"ns/db/db-0 has address 10.42.0.9, which is attached to net/c1/eth0 on node n2 since 2031-02-03T04:05:06Z": &reservation.HeldError{
			Reservation: r},
		"1 detachment failed: first":  &reservation.DetachError{Each: map[int]error{7: errors.New("first")}},
		"2 detachments failed: first": &reservation.DetachError{Each: map[int]error{9: errors.New("second"), 7: errors.New("first")}},
		`10.42.0.9 of pool "default" is reserved for ns/db/db-0: ask for another one`: &reservation.ReservedError{Reservation: r},
		`pool "default" is exhausted: all of its 9 usable stateful v4 addresses`: &reservation.ExhaustedError{Pool: "default", Addresses: 9,
			Family: allocator.V4},
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	lab.InBubble(t, func(b *lab.Bubble) {
		if _, err := b.Store().Reservations.End(b.Context(), allocator.Identity{App: "db"}, true); err == nil || errors.Is(err,
			reservation.ErrNotReserved) {
			t.Errorf("the end of what no identity has: %v", err)
		}
	})
}
