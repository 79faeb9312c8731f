package reservation_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func blockOf(pool allocator.Pool, a netip.Addr) ipam.BlockID {
	return ipam.BlockID{Pool: pool.Name, Prefix: pool.BlockOf(a)}
}

// forestall changes the member's reservation before each transaction, and counts those.
func (sc *scene) forestall() (tries *int) {
	tries = new(int)
	key := sc.s.KV.Keys.Reservation("default", sc.had.Address)
	value := sc.value(key)
	sc.OnCall(func(call string) {
		if strings.HasPrefix(call, "before txn") {
			*tries++
			sc.Put(key, value)
		}
	})
	return tries
}

func TestWhoIsAlwaysForestalledGivesUp(t *testing.T) {
	for what, do := range map[string]func(sc *scene) error{
		"reserve": func(sc *scene) error { return lab.Second(sc.reserve(0, "c1")) },
		"end":     func(sc *scene) error { return lab.Second(sc.s.Reservations.End(sc.Context(), sc.id, true)) },
		"detach": func(sc *scene) error {
			return sc.s.Reservations.Detach(sc.Context(), []reservation.Detachment{detachment(sc.had)})
		},
		"assert": func(sc *scene) error {
			sc.Delete(sc.s.KV.Keys.Identity(sc.id))
			return lab.Second(sc.assert())
		},
	} {
		t.Run(what, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				tries := sc.forestall()
				if err := do(sc); err == nil || !lab.Contains(err, "try again") || *tries < 60 || *tries > 130 {
					t.Errorf("after %d transactions: %v", *tries, err)
				}
			})
		})
	}
}

func TestARequestThatCannotBeIsRefusedBeforeEtcdIsAsked(t *testing.T) {
	inScene(t, func(sc *scene) {
		calls := 0
		sc.OnCall(func(string) { calls++ })
		old := lab.Asking(sc.c, "default", lab.Identity("db", 1), "c2")
		old.PoolRevision = 0
		two := lab.Asking(sc.c, "default", lab.Identity("db", 1), "c2", lab.Addr("10.42.0.8"), lab.Addr("10.42.0.9"))
		unnamed := lab.Asking(sc.c, "default", allocator.Identity{Namespace: "ns", App: "db", Network: "net", Interface: "eth0"}, "c2")
		for want, q := range map[string]reservation.Request{
			record.ErrStaleConfig.Error(): old, "10.42.0.9 is the second v4 one": two, "member is missing": unnamed,
		} {
			if _, err := sc.x.Reserve(sc.Context(), []reservation.Request{q}); err == nil || !lab.Contains(err, want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
		if calls > 0 {
			t.Errorf("%d calls were made", calls)
		}
	})
}

func TestAnAddressThatAnotherOfTheSetHasIsRefused(t *testing.T) {
	inScene(t, func(sc *scene) {
		wanted, err := sc.reserve(1, "c2") // what db-1 would choose
		sc.Check(err)
		_, err = sc.s.Reservations.End(sc.Context(), wanted.Identity, true)
		sc.Check(err)
		_, err = sc.x.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", wanted.Identity, "c2"),
			lab.Asking(sc.c, "default", lab.Identity("db", 2), "c3", wanted.Address)})
		if err == nil || !lab.Contains(err, "ns/db/db-1 of the same set has it") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestABlockOfANodeIsNamedToWhoAsksForItsAddress(t *testing.T) {
	inScene(t, func(sc *scene) {
		at := lab.Prefix("10.42.9.0/26")
		sc.Put(sc.s.KV.Keys.Block("default", at), kv.Encode(record.Block{Prefix: at, Parts: lab.Parts("10.42.9.0/26", "n9")}))
		if got, err := sc.reserve(1, "c2", lab.Addr("10.42.9.9")); err == nil || !lab.Contains(err, "10.42.9.0/26 belongs to node n9") {
			t.Errorf("it has %+v, %v", got, err)
		}
	})
}

func TestWhatAnAddWithoutAnAnswerMadeEndsAndWhatItFoundStays(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(sc *scene)
		ends   bool
	}{
		"it made it":       {func(*scene) {}, true},
		"it had it before": {func(sc *scene) { sc.had, _ = sc.reserve(0, "c1") }, false},
		"it was reserved before it ran": {func(sc *scene) {
			sc.had.Since = sc.had.Since.Add(-time.Minute)
			rewrite(sc.Lab, sc.s, sc.had)
		}, false},
		"another has attached since": {func(sc *scene) {
			sc.had.Holder.Node = "n9"
			rewrite(sc.Lab, sc.s, sc.had)
			sc.had.Epoch++
		}, false},
		"another's attachment is of one": {func(sc *scene) { sc.had.Holder.Attachment.Container = "other" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				tc.before(sc)
				d := detachment(sc.had)
				sc.Check(sc.s.Reservations.EndMade(sc.Context(), d))
				left, err := sc.s.Reservations.Of(sc.Context(), "default", sc.had.Address)
				sc.Check(err)
				if (left == nil) != tc.ends {
					t.Errorf("left is %+v", left)
				}
				sc.Check(sc.s.Reservations.EndMade(sc.Context(), d)) // once more, and of none
			})
		})
	}
}

func TestADeletionWithReleaseEndsWhatItsAttachmentHadLast(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(sc *scene)
		ends   bool
	}{
		"it has it": {func(*scene) {}, true},
		"it had it last": {func(sc *scene) {
			sc.Check(sc.s.Reservations.Detach(sc.Context(), []reservation.Detachment{detachment(sc.had)}))
		}, true},
		"another has it": {func(sc *scene) {
			r := sc.had
			r.Holder = &record.Holder{Attachment: lab.Attachment("c9"), Node: "n9"}
			rewrite(sc.Lab, sc.s, r)
		}, false},
		"another had it last": {func(sc *scene) {
			r := sc.had
			r.Holder, r.Epoch = nil, r.Epoch+1
			rewrite(sc.Lab, sc.s, r)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				tc.before(sc)
				sc.Check(sc.s.Reservations.EndHeld(sc.Context(), detachment(sc.had)))
				left, err := sc.s.Reservations.Of(sc.Context(), "default", sc.had.Address)
				sc.Check(err)
				if (left == nil) != tc.ends || name == "another has it" && left.Holder == nil {
					t.Errorf("left is %+v", left)
				}
			})
		})
	}
	inScene(t, func(sc *scene) {
		sc.Put(sc.s.KV.Keys.Identity(sc.id), "{")
		if err := sc.s.Reservations.EndHeld(sc.Context(), detachment(sc.had)); kv.Damage(err) == nil {
			t.Errorf("with a damaged identity it says %v", err)
		}
	})
}

func TestFromWhomAReservationMovesAtOnce(t *testing.T) {
	now := time.Now()
	removed := record.Node{Name: "n1", Removed: &now, Fencing: record.FencingStrict}
	for name, tc := range map[string]struct {
		node    string // the holder's record; empty: none
		fencing string // the cluster's mode
		moves   bool
		asks    bool // whether the wait was over
	}{
		"removed, also in strict mode":     {kv.Encode(removed), "strict", true, false},
		"by evidence":                      {kv.Encode(lab.Node("n1")), "strict", true, false},
		"without a record, by evidence":    {"", "evidence", true, false},
		"without a record, in strict mode": {"", "strict", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				keys := sc.s.KV.Keys
				sc.Delete(keys.Session("n1"))
				sc.Delete(keys.Node("n1"))
				if tc.node != "" {
					sc.Put(keys.Node("n1"), tc.node)
				}
				var asked []record.Absence
				q := lab.Asking(sc.c, "default", sc.id, "c2")
				q.Fencing = tc.fencing
				q.Waited = func(a record.Absence) bool { asked = append(asked, a); return false }
				_, err := sc.Join(sc.Store(), "n2").Reserve(sc.Context(), []reservation.Request{q})
				if (err == nil) != tc.moves || err != nil && !isHeld(err) || (len(asked) > 0) != tc.asks ||
					tc.asks && asked[0] != (record.Absence{Node: "n1"}) {
					t.Errorf("asked about %+v: %v", asked, err)
				}
			})
		})
	}
}

func TestAReservationBeforeAMemberRunsIsMadeWholeAgain(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		id := lab.Identity("db", 0)
		reserve := func() ([]record.Reservation, error) {
			return b.Store().Reservations.ReserveFor(b.Context(), c.Pools["both"], c.PoolRevisions["both"], id, nil)
		}
		first, err := reserve()
		b.Check(err)
		if len(first) != 2 || !first[0].Address.Is4() || !first[1].Address.Is6() {
			t.Errorf("reserved was %+v", first)
		}
		ended := first[0]
		now := time.Now().UTC()
		ended.Ended = &now
		rewrite(b.Lab, s, ended)
		again, err := reserve()
		if err != nil || again[0].Ended != nil || again[0].Address != first[0].Address || !again[0].Since.Equal(first[0].Since) {
			t.Errorf("one that had ended is %+v, %v", again, err)
		}
		b.Delete(s.KV.Keys.Reservation("both", first[1].Address))
		again, err = reserve()
		if err != nil || len(again) != 2 || again[1].Address != first[1].Address {
			t.Errorf("one that was lost is %+v, %v", again, err)
		}
		agree(b.Lab, s, again...)
		b.Put(s.KV.Keys.Cluster(), "{")
		if _, err := reserve(); kv.Damage(err) == nil {
			t.Errorf("with a damaged record of the cluster it says %v", err)
		}
	})
}

func TestWhoHoldsOneOfTwoFamiliesHoldsTheMember(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		c := b.Apply(s, both())
		id := lab.Identity("db", 0)
		x := b.Join(s, "n1")
		had := b.Reserve(x, lab.Asking(c, "both", id, "c1"))
		free := had[0]
		free.Holder = nil
		rewrite(b.Lab, s, free)
		for _, by := range []*lab.Joined{b.Join(b.Store(), "n2"), {Session: x.Session, Store: b.Store()}} {
			_, err := by.Reserve(b.Context(), []reservation.Request{lab.Asking(c, "both", id, "c2")})
			if held, is := errors.AsType[*reservation.HeldError](err); !is || held.Reservation.Address != had[1].Address {
				t.Errorf("another container: %v", err)
			}
		}
		again := b.Reserve(&lab.Joined{Session: x.Session, Store: b.Store()}, lab.Asking(c, "both", id, "c1"))
		if again[0].Epoch != had[0].Epoch+1 || again[1].Epoch != again[0].Epoch || !again[0].Since.Equal(had[0].Since) {
			t.Errorf("it had %+v, and has %+v", had, again)
		}
	})
}
