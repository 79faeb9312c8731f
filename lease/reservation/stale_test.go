package reservation_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// What a store remembers makes its first try likely: it decides nothing.
func TestAnAddressThatIsAskedForIsGivenThoughTheMemberHadAnotherOneUntilNow(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), lab.Smallest())
		s, other := b.Store(), b.Store()
		x := b.Join(s, "n1")
		id := lab.Identity("db", 0)
		had := b.Reserve(x, lab.Asking(c, "default", id, "c1"))[0]
		_, err := other.Reservations.End(b.Context(), id, true)
		b.Check(err)
		asked := lab.Addr("10.42.9.9")
		if got := b.Reserve(x, lab.Asking(c, "default", id, "c1", asked))[0]; got.Address != asked {
			t.Errorf("it had %s once, asks for %s, and is given %s", had.Address, asked, got.Address)
		}
	})
}

func TestAMemberThatEndedElsewhereIsForgottenByItsNextReservation(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), lab.Smallest())
		s, other := b.Store(), b.Store()
		x := b.Join(s, "n1")
		id := lab.Identity("db", 0)
		b.Reserve(x, lab.Asking(c, "default", id, "c1"))
		_, err := other.Reservations.End(b.Context(), id, true)
		b.Check(err)
		now := b.Reserve(x, lab.Asking(c, "default", id, "c1", lab.Addr("10.42.9.9")))[0]
		if known := s.Reservations.Cached(id); len(known) != 1 || known[0].Address != now.Address {
			t.Errorf("it has %s, and known are %+v", now.Address, known)
		}
		costs(b, "the same again", 1, func() error {
			return lab.Second(x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "default", id, "c1")}))
		})
	})
}

func TestAnAddressThatBecomesANodesOwnAsItIsChosenIsReservedForNobody(t *testing.T) {
	inScene(t, func(sc *scene) {
		pool := sc.c.Pools["default"]
		s := sc.Store()
		x := &lab.Joined{Session: sc.x.Session, Store: s}
		var taken netip.Addr
		q := lab.Asking(sc.c, "default", lab.Identity("db", 1), "c2")
		q.Taken = func(a netip.Addr) bool {
			if !taken.IsValid() {
				taken = a
				block := record.StatefulBlock(blockOf(pool, a)).With(record.Part{Prefix: netip.PrefixFrom(a, 32), Owner: record.OwnerMachine,
					Node: "n9"})
				block.Revision = sc.Put(sc.s.KV.Keys.Block("default", block.Prefix), kv.Encode(block))
				s.Reservations.LearnBlocks(kv.Update[record.Block]{Revision: block.Revision, Set: []record.Block{block}})
			}
			return false
		}
		if got := sc.Reserve(x, q)[0]; got.Address == taken {
			t.Errorf("%s is node n9's own, and reserved", taken)
		}
	})
}

func TestWhereTheLastAddressBecomesANodesOwnAsItIsChosenThePoolIsExhausted(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Small())
		pool := c.Pools["small"]
		x := b.Join(s, "n1")
		q := lab.Asking(c, "small", lab.Identity("db", 9), "c")
		_, free := fill(b, c, x, q.Identity)
		_, err := x.Store.Reservations.End(b.Context(), free.Identity, true)
		b.Check(err)
		q.Taken = func(a netip.Addr) bool {
			if a != free.Address {
				return true
			}
			block := record.StatefulBlock(blockOf(pool, a)).With(record.Part{Prefix: netip.PrefixFrom(a, 32), Owner: record.OwnerMachine,
				Node: "n9"})
			block.Revision = b.Put(s.KV.Keys.Block("small", block.Prefix), kv.Encode(block))
			s.Reservations.LearnBlocks(kv.Update[record.Block]{Revision: block.Revision, Set: []record.Block{block}})
			return false
		}
		_, err = x.Reserve(b.Context(), []reservation.Request{q})
		if _, full := errors.AsType[*reservation.ExhaustedError](err); !full {
			t.Errorf("the error is %v", err)
		}
	})
}

// fill reserves all of the pool small but for the address before the one that a member would choose: it finds that last.
func fill(b *lab.Bubble, c *config.Config, x *lab.Joined, id allocator.Identity) (natural, free record.Reservation) {
	b.Helper()
	natural = b.Reserve(x, lab.Asking(c, "small", id, "c"))[0]
	_, err := x.Store.Reservations.End(b.Context(), id, true)
	b.Check(err)
	before := natural.Address.Prev()
	if pool := c.Pools["small"]; !pool.InStateful(before) {
		before = lab.Addr("10.1.0.13")
	}
	for i := range 6 {
		got := b.Reserve(x, lab.Asking(c, "small", lab.Identity("full", i), "c"))[0]
		if got.Address == natural.Address {
			natural = got
		} else if got.Address == before {
			free = got
		}
	}
	return natural, free
}

func TestAnAddressThatBecomesFreeDuringACallIsFound(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Small())
		x := b.Join(s, "n1")
		id := lab.Identity("db", 9)
		first, _ := fill(b, c, x, id)
		ended := false
		b.OnCall(func(call string) { // the first that was tried ends before the list is read
			if strings.HasPrefix(call, "before get") && !ended {
				ended = true
				b.Delete(s.KV.Keys.Reservation("small", first.Address))
				b.Delete(s.KV.Keys.Identity(first.Identity))
			}
		})
		fresh := &lab.Joined{Session: x.Session, Store: b.Store()}
		got, err := fresh.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "small", id, "c")})
		b.OnCall(nil)
		if err != nil || got[0].Address != first.Address {
			t.Errorf("%s is free: %+v, %v", first.Address, got, err)
		}
	})
}

func TestABlockThatSomebodyHasDeletedIsClaimedAgain(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), lab.Small())
		// The first does not hear of it, and finds out by a conflict.
		for s, transactions := range map[*lab.Store]int{b.Store(): 2, followed(b): 1} {
			x := b.Join(s, "n1")
			b.Reserve(x, lab.Asking(c, "small", lab.Identity("db", 0), "c"))
			for _, kind := range []string{"reservation", "identity", "block"} {
				b.Delete(map[string]string{"reservation": s.KV.Keys.Under(kv.KindReservation), "identity": s.KV.Keys.Under(kv.KindIdentity),
					"block": s.KV.Keys.Under(kv.KindBlock)}[kind])
			}
			time.Sleep(time.Second)
			costs(b, "a member in it", transactions, func() error {
				return lab.Second(x.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "small", lab.Identity("db", 1), "c")}))
			})
			agree(b.Lab, s)
			costs(b, "another member in it", 1, func() error {
				q := lab.Asking(c, "small", lab.Identity("db", 2), "c")
				q.Taken = func(a netip.Addr) bool { return a == s.Reservations.Cached(lab.Identity("db", 1))[0].Address }
				return lab.Second(x.Reserve(b.Context(), []reservation.Request{q}))
			})
		}
	})
}

func TestABlockThatIsReadIsKnown(t *testing.T) {
	inScene(t, func(sc *scene) {
		x := &lab.Joined{Session: sc.x.Session, Store: sc.Store()}
		next := func(member int, a netip.Addr) error {
			return lab.Second(x.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", lab.Identity("db", member), "c", a)}))
		}
		costs(sc.Bubble, "the first member in a block that is not known", 2, func() error { return next(1, sc.had.Address.Next()) })
		costs(sc.Bubble, "the next one", 1, func() error { return next(2, sc.had.Address.Next().Next()) })
	})
}

func TestAReservationOutsideOfItsPoolIsNotTheMembers(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		c := b.Apply(b.Store(), lab.Smallest())
		x := b.Join(followed(b), "n1")
		id := lab.Identity("db", 0)
		stray := record.Reservation{Pool: "default", Address: lab.Addr("10.9.9.9"), Identity: id, Epoch: 1}
		rewrite(b.Lab, x.Store, stray)
		time.Sleep(time.Second)
		pool := c.Pools["default"]
		if got := b.Reserve(x, lab.Asking(c, "default", id, "c1"))[0]; !pool.InStateful(got.Address) {
			t.Errorf("it has %s", got.Address)
		}
	})
}

func TestAMembersIPv4AddressComesFirstWhateverItsRecordSays(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		x := b.Join(s, "n1")
		id := lab.Identity("db", 0)
		had := b.Reserve(x, lab.Asking(c, "both", id, "c1"))
		b.Put(s.KV.Keys.Identity(id), kv.Encode(record.IdentityRecord{Pool: "both", Addresses: []netip.Addr{had[1].Address, had[0].Address}}))
		again := b.Reserve(&lab.Joined{Session: x.Session, Store: b.Store()}, lab.Asking(c, "both", id, "c1"))
		if again[0].Address != had[0].Address || again[1].Address != had[1].Address {
			t.Errorf("it had %+v, and has %+v", had, again)
		}
	})
}

// Who does not know which addresses are taken finds out by conflicts first, and then by one list.
func TestASetThatKnowsNothingOfAPoolReadsItsListOnce(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		pool := lab.Smallest()
		pool.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/25")}
		c := b.Apply(b.Store(), pool)
		x := b.Join(b.Store(), "n1")
		done, err := x.Reserve(b.Context(), set(c, "default", "db", 110, "c"))
		b.Check(err)
		transactions, lists := 0, 0
		b.OnCall(func(call string) {
			switch {
			case strings.HasPrefix(call, "before txn"):
				transactions++
			case strings.HasPrefix(call, "before get"):
				lists++
			}
		})
		more, err := (&lab.Joined{Session: x.Session, Store: b.Store()}).Reserve(b.Context(), set(c, "default", "more", 10, "c"))
		b.OnCall(nil)
		b.Check(err)
		if transactions > 5 || lists > 2 {
			t.Errorf("it took %d transactions, and %d reads", transactions, lists)
		}
		agree(b.Lab, x.Store, slices.Concat(done, more)...)
	})
}

func TestWithoutAnAnswerNoPoolIsSaidToBeExhausted(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Small())
		lasting := lab.Node("n1")
		lasting.Session, lasting.AddressLease = allocator.Duration(24*time.Hour), allocator.Duration(24*time.Hour)
		x, err := s.Join(b.Context(), lasting)
		b.Check(err)
		_, free := fill(b, c, x, lab.Identity("db", 9))
		_, err = s.Reservations.End(b.Context(), free.Identity, true)
		b.Check(err)
		for what, taken := range map[string]func(netip.Addr) bool{
			"who takes all for taken": func(netip.Addr) bool { return true }, "who knows of none": nil,
		} {
			q := lab.Asking(c, "small", lab.Identity("db", 9), "c9")
			q.Taken = taken
			b.Throughout(what, func() {
				if _, err := s.Reservations.End(b.Context(), q.Identity, true); !errors.Is(err, reservation.ErrNotReserved) {
					b.Check(err)
				}
			}, func() error {
				return lab.Second((&lab.Joined{Session: x.Session, Store: b.Store()}).Reserve(b.Context(), []reservation.Request{q}))
			})
		}
	})
}

func TestWhoAsksForAReservedAddressIsToldWhoseItIs(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, lab.Small())
		x := b.Join(s, "n1")
		had := b.Reserve(x, lab.Asking(c, "small", lab.Identity("db", 0), "c0"))[0]
		first := lab.Asking(c, "small", lab.Identity("db", 1), "c1")
		first.Taken = func(netip.Addr) bool { return true } // so that the list of the reserved is read, which says of none whose it is
		requests := []reservation.Request{first, lab.Asking(c, "small", lab.Identity("db", 2), "c2", had.Address)}
		_, err := (&lab.Joined{Session: x.Session, Store: b.Store()}).Reserve(b.Context(), requests)
		if reserved, is := errors.AsType[*reservation.ReservedError](err); !is || reserved.Reservation.Identity != had.Identity {
			t.Errorf("it is told %v", err)
		}
	})
}
