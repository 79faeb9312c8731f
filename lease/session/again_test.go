package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// boot joins a second boot of n1, and returns how long it took, how often it asked how long the former lease lasts, and its error.
func boot(b *lab.Bubble) (took time.Duration, looks int, err error) {
	b.Helper()
	b.OnCall(func(call string) {
		if call == "before time to live" {
			looks++
		}
	})
	began := time.Now()
	_, err = b.Store().Join(b.Context(), rebooted("n1"))
	b.OnCall(nil)
	return time.Since(began), looks, err
}

// lasting is n1 with a session of a length.
func lasting(d time.Duration) record.Node {
	n := lab.Node("n1")
	n.Session = allocator.Duration(d)
	return n
}

func TestABootWatchesTheFormerOneForOneRenewal(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		_, err := b.Store().Join(b.Context(), lasting(20*time.Second)) // a renewal would come each 4 s; nobody makes one
		b.Check(err)
		took, looks, err := boot(b)
		if err != nil || took < 6*time.Second || took > 6500*time.Millisecond || looks < 6 || looks > 8 {
			t.Errorf("it joined after %s and %d looks: %v; want an interval and two seconds, with four looks in each interval", took, looks, err)
		}
	})
}

func TestABootJoinsAtOnceWhenTheFormerSessionEnds(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		_, err := b.Store().Join(b.Context(), lasting(20*time.Second))
		b.Check(err)
		time.Sleep(18500 * time.Millisecond)
		if took, _, err := boot(b); err != nil || took > 2500*time.Millisecond { // a look each second
			t.Errorf("when the former session had 1.5 s left, it joined after %s: %v", took, err)
		}
	})
	t.Run("before it came", func(t *testing.T) {
		lab.InBubble(t, func(b *lab.Bubble) {
			_, err := b.Store().Join(b.Context(), lasting(20*time.Second))
			b.Check(err)
			time.Sleep(time.Minute)
			if took, _, err := boot(b); err != nil || took > 100*time.Millisecond {
				t.Errorf("it joined after %s: %v", took, err)
			}
		})
	})
}

func TestABootBesideASlowEtcdTakesNobodyForAliveWhoseSessionIsNotRenewed(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		_, err := b.Store().Join(b.Context(), lasting(20*time.Second))
		b.Check(err)
		looks := 0
		b.OnCall(func(call string) {
			if call != "before time to live" {
				return
			}
			if looks++; looks%3 == 1 { // its answer comes too late, and it is asked again at once
				time.Sleep(1200 * time.Millisecond)
			}
		})
		_, err = b.Store().Join(b.Context(), rebooted("n1"))
		b.OnCall(nil)
		if err != nil {
			t.Errorf("after %d looks: %v", looks, err)
		}
	})
}

func TestABootTakesNobodyForAliveWhoseLastRenewalsComeLate(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		_, err := s.Join(b.Context(), lasting(20*time.Second))
		b.Check(err)
		got, err := b.Raw().Get(b.Context(), s.KV.Keys.Session("n1"))
		b.Check(err)
		var late sync.WaitGroup
		late.Go(func() {
			for range 3 {
				time.Sleep(2 * time.Second)
				_, err := b.Raw().KeepAliveOnce(b.Context(), clientv3.LeaseID(got.Kvs[0].Lease))
				b.Check(err)
			}
		})
		if _, _, err := boot(b); err != nil {
			t.Error(err)
		}
		late.Wait()
	})
}

func TestABootIsRefusedBesideOneThatRenewsItsSession(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		x, err := b.Store().Join(b.Context(), lasting(20*time.Second))
		b.Check(err)
		b.Keep(x)
		took, _, err := boot(b)
		if alive, is := errors.AsType[*session.NodeAliveError](err); !is || alive.Boot != "first" || took > 20*time.Second ||
			!strings.Contains(err.Error(), `node "n1" is alive under another boot (first)`) {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestANodesSessionKnowsWhatCameBeforeIt(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		at := b.Handshake(s, "n1", session.Past{})
		revoked := 0
		b.OnCall(func(call string) {
			if call == "before revoke" {
				revoked++
			}
		})
		first := b.Join(s, "n1")
		time.Sleep(time.Second)
		if b.OnCall(nil); revoked > 0 {
			t.Error("a node without a former session ends one")
		}
		second := b.Join(s, "n1")
		if first.Former() != 0 || second.Former() != first.Generation() || second.Cluster() != at.Revision || second.Recovering() {
			t.Errorf("after %d and %d the second is %d, with cluster %d of %+v, recovering: %t", first.Former(), first.Generation(),
				second.Former(), second.Cluster(), at, second.Recovering())
		}
		b.Void(s)
		if x := b.Join(s, "n1"); !x.Recovering() || !errors.Is(x.Entitled(), session.ErrRecovering) {
			t.Errorf("while all recover: %t, %v", x.Recovering(), x.Entitled())
		}
	})
}

func TestASessionWhoseNodesKeyEtcdDoesNotHaveIsOfAFormerHistory(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		x := b.Join(s, "n1")
		b.Delete(s.KV.Keys.Node("n1"))
		if err := x.Keep(b.Context(), never(b.T)); !errors.Is(err, kv.ErrStoreReset) {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestNobodyJoinsWhereARecordThatDecidesCannotBeRead(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		for _, key := range []string{s.KV.Keys.Node("n1"), s.KV.Keys.Cluster()} {
			b.Put(key, "{")
			if _, err := s.Join(b.Context(), lab.Node("n1")); kv.Damage(err) == nil {
				t.Errorf("%s is damaged, and the error is %v", key, err)
			}
			b.Delete(key)
		}
	})
}

func TestWhoeverFollowsNodesAndSessionsHearsOfEachChange(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		var nodes, live []string
		sorted := func(all, set, gone []string) []string {
			all = slices.DeleteFunc(all, func(n string) bool { return slices.Contains(gone, n) })
			all = append(all, set...)
			slices.Sort(all)
			return slices.Compact(all)
		}
		names := func(all []record.Node) (names []string) {
			for _, n := range all {
				names = append(names, n.Name)
			}
			return names
		}
		present := func(all []record.Presence) (names []string) {
			for _, p := range all {
				names = append(names, p.Node)
			}
			return names
		}
		ended := make(chan error, 2)
		ctx, cancel := context.WithCancel(b.Context())
		go func() {
			ended <- s.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) { nodes = sorted(nodes, names(u.Set), names(u.Gone)) })
		}()
		go func() {
			ended <- s.Sessions.FollowSessions(ctx, func(u kv.Update[record.Presence]) { live = sorted(live, present(u.Set), present(u.Gone)) })
		}()
		time.Sleep(time.Second)
		b.Join(s, "n1")
		x := b.Join(s, "n2")
		b.Join(s, "n3")
		time.Sleep(time.Second)
		_, err := b.Raw().Revoke(b.Context(), x.Lease())
		b.Check(err)
		b.Delete(s.KV.Keys.Node("n3"))
		time.Sleep(time.Second)
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("one ended with %v", err)
			}
		}
		if !slices.Equal(nodes, []string{"n1", "n2"}) || !slices.Equal(live, []string{"n1", "n3"}) {
			t.Errorf("there are %q, of which %q live", nodes, live)
		}
	})
}

func TestATombstoneKeepsTheTimesAndEndsTheSession(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		bury := func() (int64, error) {
			seen, err := s.Sessions.Lookup(b.Context(), "n1")
			b.Check(err)
			return session.WriteTombstone(b.Context(), s.KV, "n1", seen)
		}
		x := b.Join(s, "n1")
		at, err := bury()
		b.Check(err)
		got, err := b.Raw().Get(b.Context(), s.KV.Keys.Node("n1"))
		b.Check(err)
		tomb, err := record.NodeCodec.Read(s.KV.Keys, got.Kvs[0])
		b.Check(err)
		if tomb.Removed == nil || tomb.Machine != "" || tomb.Session != x.Node().Session || tomb.AddressLease != x.Node().AddressLease ||
			tomb.Fencing != x.Node().Fencing || !tomb.Started.Equal(x.Node().Started) || tomb.Revision != at {
			t.Errorf("the tombstone of %+v at %d is %+v", x.Node(), at, tomb)
		}
		if live, err := s.Sessions.Sessions(b.Context()); err != nil || len(live) != 0 {
			t.Errorf("live are %q, %v", live, err)
		}
		leases, err := b.Raw().Leases(b.Context())
		b.Check(err)
		if len(leases.Leases) != 0 {
			t.Errorf("%d leases are left", len(leases.Leases))
		}
		calls := 0
		b.OnCall(func(call string) {
			if call == "before revoke" {
				calls++
			}
		})
		if _, err := bury(); err != nil || calls > 0 { // it has no session
			t.Errorf("once more: %v, %d leases revoked", err, calls)
		}
		b.Delete(s.KV.Keys.Node("n1"))
		if _, err := bury(); err != nil { // it has no record either
			t.Error(err)
		}
	})
}

func TestABurialWhoseAnswerIsLostIsDoneOnlyIfTheNodeHasNotComeBack(t *testing.T) {
	for name, comes := range map[string]func(b *lab.Bubble, s *lab.Store){
		"":                    func(*lab.Bubble, *lab.Store) {},
		"with its record":     func(b *lab.Bubble, s *lab.Store) { b.Put(s.KV.Keys.Node("n1"), kv.Encode(lab.Node("n1"))) },
		"with a session":      func(b *lab.Bubble, s *lab.Store) { b.Put(s.KV.Keys.Session("n1"), kv.Encode(record.Presence{})) },
		"and all of it ended": func(b *lab.Bubble, s *lab.Store) { b.Delete(s.KV.Keys.Node("n1")) },
	} {
		t.Run(name, func(t *testing.T) {
			lab.InBubble(t, func(b *lab.Bubble) {
				s := b.Store()
				b.Join(s, "n1")
				seen, err := s.Sessions.Lookup(b.Context(), "n1")
				b.Check(err)
				lost := lostAnswer(b, func() { comes(b, s) })
				at, err := session.WriteTombstone(b.Context(), s.KV, "n1", seen)
				b.OnCall(nil)
				if *lost != 1 {
					t.Fatalf("%d answers were lost", *lost)
				}
				if _, returned := errors.AsType[*session.NodeReturnedError](err); returned == (name == "") || returned == (at > 0) ||
					returned && !strings.Contains(err.Error(), `node "n1" has come back`) {
					t.Errorf("the burial at %d: %v", at, err)
				}
			})
		})
	}
}

// lostAnswer has the answer of the next transaction lost, and does something before that is sent again.
func lostAnswer(b *lab.Bubble, then func()) (lost *int) {
	lost = new(int)
	b.OnCall(func(call string) {
		if strings.HasPrefix(call, "before txn") && *lost == 0 {
			*lost = 1
			b.Way.Set(etcd.Condition{CutBack: true})
		}
		if c, _ := b.Way.Condition(); c.CutBack && strings.HasPrefix(call, "after txn") {
			b.Way.Set(etcd.Condition{})
			then()
		}
	})
	return lost
}
