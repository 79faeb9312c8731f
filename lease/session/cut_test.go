package session_test

import (
	"context"
	"strings"
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

// rebooted is a later boot of a node's machine.
func rebooted(name string) record.Node {
	n := lab.Node(name)
	n.Boot = "second"
	return n
}

func TestWhatEtcdDoesNotAnswerIsNeitherAbsentNorDone(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		cluster, node := s.KV.Keys.Cluster(), s.KV.Keys.Node("n1")
		nothing := func() {}
		handshake := func(past session.Past) func() error {
			return func() error { _, err := s.Sessions.Handshake(b.Context(), "n1", "machine of n1", past); return err }
		}
		b.Throughout("the first handshake", func() { b.Delete(cluster) }, handshake(session.Past{}))
		at := b.Handshake(s, "n1", session.Past{})
		b.Throughout("a handshake with a damaged record of the cluster", func() { b.Put(cluster, "{") }, handshake(session.Past{}))
		b.Throughout("a join", func() { b.Delete(node) }, func() error { _, err := s.Join(b.Context(), lab.Node("n1")); return err })
		b.Throughout("a boot after one that may be alive", func() { b.Delete(node); b.Join(s, "n1") }, func() error {
			_, err := s.Join(b.Context(), rebooted("n1"))
			return err
		})
		erased := past(at, b.Join(s, "n1"))
		b.Throughout("a handshake of a node whose key is gone", func() { b.Delete(node) }, handshake(erased))
		x := b.Join(s, "n1")
		b.Throughout("the burial of a node", nothing, func() error {
			seen, err := s.Sessions.Lookup(b.Context(), "n1")
			if err == nil {
				_, err = session.WriteTombstone(b.Context(), s.KV, "n1", seen)
			}
			return err
		})
		b.Join(s, "n1")
		b.Put(node, "{")
		b.Throughout("a look at a node whose record is damaged", nothing, func() error { return lab.Second(s.Sessions.Node(b.Context(), "n1")) })
		b.Throughout("the names of the live", nothing, func() error { return lab.Second(s.Sessions.Sessions(b.Context())) })
		b.Throughout("the end of a recovery", func() { b.Void(s); at = b.Handshake(s, "n1", session.Past{}) }, func() error {
			return s.Sessions.AcceptCluster(b.Context(), at)
		})
		_ = x
	})
}

func TestADamageWhoseFormerValueCannotBeReadNowBeginsNoRecovery(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		cluster := s.KV.Keys.Cluster()
		before := b.Handshake(s, "n1", session.Past{})
		b.Put(cluster, "{")
		b.OnCall(func(call string) { // the read of the former value has no answer, and all others have
			if call == "before get "+cluster {
				b.Way.Set(etcd.Condition{Cut: true})
			} else if call == "after get "+cluster {
				b.Way.Set(etcd.Condition{})
			}
		})
		if at, err := s.Sessions.Handshake(b.Context(), "n1", "machine of n1", session.Past{}); !kv.Unavailable(err) {
			t.Errorf("it met %+v, %v", at, err)
		}
		b.OnCall(nil)
		if at := b.Handshake(s, "n1", session.Past{}); at.Recovering || at.Incarnation != before.Incarnation {
			t.Errorf("it met %+v: want what there was before the damage, %+v", at, before)
		}
	})
}

// enters reports whether a call is about to make n1 a live node.
func enters(s *lab.Store, call string) bool {
	return strings.HasPrefix(call, "before txn") && strings.Count(call, s.KV.Keys.Session("n1")) == 2 // compared and written
}

func TestAJoinWhoseAnswerIsLostKeepsItsOneLease(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		grants, revokes, entered := 0, 0, 0
		b.OnCall(func(call string) {
			switch enters := enters(s, call); {
			case call == "before grant":
				grants++
			case call == "before revoke":
				revokes++
			case enters && entered == 0:
				entered++
				b.Way.Set(etcd.Condition{CutBack: true})
			case strings.HasPrefix(call, "after txn"):
				b.Way.Set(etcd.Condition{})
			}
		})
		x := b.Join(s, "n1")
		b.OnCall(nil)
		if entered != 1 || grants != 1 || revokes != 0 {
			t.Errorf("%d answers were lost; %d leases were granted, %d revoked", entered, grants, revokes)
		}
		left, err := b.Raw().TimeToLive(b.Context(), x.Lease(), clientv3.WithAttachedKeys())
		b.Check(err)
		if left.TTL <= 0 || len(left.Keys) != 1 {
			t.Errorf("its lease has %d s and the keys %q", left.TTL, left.Keys)
		}
	})
}

func TestWhoIsAlwaysForestalledUnderItsNameGivesUpAndLeavesNoLease(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		node := s.KV.Keys.Node("n1")
		tries := 0
		b.OnCall(func(call string) {
			if enters(s, call) {
				tries++
				b.Put(node, kv.Encode(lab.Node("n1")))
			}
		})
		_, err := s.Join(b.Context(), lab.Node("n1"))
		if err == nil || !strings.Contains(err.Error(), "give each its own node name") || tries != 5 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		revoked := 0
		b.OnCall(func(call string) {
			if call == "before revoke" {
				revoked++
			}
		})
		stranger := lab.Node("n1")
		stranger.Machine = "another"
		if _, err := s.Join(b.Context(), stranger); err == nil || !strings.Contains(err.Error(), "192.0.2.1") || revoked > 0 {
			t.Errorf("who never had a lease has revoked %d: %v", revoked, err)
		}
		leases, err := b.Raw().Leases(b.Context())
		b.Check(err)
		if len(leases.Leases) != 0 {
			t.Errorf("there are %d leases", len(leases.Leases))
		}
	})
}

func TestAHandshakeThatOthersAlwaysForestallGivesUp(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		cluster := s.KV.Keys.Cluster()
		b.Put(cluster, `{"id": "c0ffee"}`)
		b.OnCall(func(call string) {
			if strings.HasPrefix(call, "before txn") && strings.HasSuffix(call, " "+cluster) {
				b.Put(cluster, `{"id": "c0ffee"}`)
			}
		})
		if at, err := s.Sessions.Handshake(b.Context(), "n1", "machine of n1", session.Past{}); err == nil ||
			!strings.Contains(err.Error(), "keeps changing") {
			t.Errorf("it met %+v, %v", at, err)
		}
	})
}

// kept keeps a session for a time, and returns when each renewal began, how long each attempt took, and how long each rest was.
func kept(b *lab.Bubble, x *lab.Joined, p session.Prover, d time.Duration) (renewals, attempts, rests []time.Duration) {
	b.Helper()
	began := time.Now()
	var ended, first time.Duration
	b.OnCall(func(call string) {
		now := time.Since(began)
		switch {
		case strings.HasPrefix(call, "after "):
			ended = now
		case call == "before renew" && now > ended:
			if len(renewals) > 0 {
				attempts, rests = append(attempts, ended-first), append(rests, now-ended)
			}
			first, renewals = now, append(renewals, now)
		}
	})
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	if err := x.Keep(ctx, p); err == nil || ctx.Err() == nil {
		b.Errorf("it ended with %v", err)
	}
	b.OnCall(nil)
	return renewals, attempts, rests
}

// never fails where something is proven.
func never(t *testing.T) session.Prover {
	t.Helper()
	return lab.Told(func(time.Duration) { t.Error("it was proven") })
}

// short is a node whose session lasts for 10 s: it is renewed each 2 s.
func short() record.Node {
	n := lab.Node("n1")
	n.Session = allocator.Duration(10 * time.Second)
	return n
}

func TestASessionIsRenewedFiveTimesInItsTime(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		x, err := b.Store().Join(b.Context(), short())
		b.Check(err)
		_, _, rests := kept(b, x, lab.Told(func(time.Duration) {}), time.Minute)
		if len(rests) < 28 {
			t.Errorf("in a minute it was renewed %d times", len(rests))
		}
		for _, r := range rests {
			if r != 2*time.Second {
				t.Errorf("between a proof and the next renewal there are %s", r)
			}
		}
	})
}

func TestWhileEtcdIsAwayAProofIsTriedForTwoIntervalsAndThenAfterAHalfToAWholeOne(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		x, err := b.Store().Join(b.Context(), short())
		b.Check(err)
		b.Way.Set(etcd.Condition{Cut: true})
		_, attempts, rests := kept(b, x, never(b.T), 20*time.Minute)
		shortest, longest := time.Hour, time.Duration(0)
		for i, r := range rests {
			shortest, longest = min(shortest, r), max(longest, r)
			if r < time.Second || r > 2*time.Second || attempts[i] != 4*time.Second {
				t.Errorf("an attempt takes %s, and the rest after it %s", attempts[i], r)
			}
		}
		if len(rests) < 200 || shortest > 1100*time.Millisecond || longest < 1900*time.Millisecond {
			t.Errorf("%d rests take %s to %s: nodes whose etcd is back ask at once", len(rests), shortest, longest)
		}
	})
}

func TestNothingIsProvenWithoutBothARenewalAndARead(t *testing.T) {
	for _, lacks := range []string{"renew", "txn"} {
		t.Run(lacks, func(t *testing.T) {
			lab.InBubble(t, func(b *lab.Bubble) {
				x, err := b.Store().Join(b.Context(), short())
				b.Check(err)
				b.OnCall(func(call string) {
					if moment, kind, _ := strings.Cut(call, " "); strings.HasPrefix(kind, lacks) { // others come in between
						b.Way.Set(etcd.Condition{Cut: moment == "before"})
					}
				})
				ctx, cancel := context.WithTimeout(b.Context(), 7*time.Second)
				defer cancel()
				if err := x.Keep(ctx, never(b.T)); session.Over(err) {
					t.Errorf("it is over: %v", err)
				}
			})
		})
	}
}

func TestAProofThatIsAskedForComesAtOnce(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		x := b.Join(b.Store(), "n1")
		var proofs []time.Duration
		ctx, cancel := context.WithCancel(b.Context())
		began := time.Now()
		_ = x.Keep(ctx, lab.Told(func(time.Duration) {
			proofs = append(proofs, time.Since(began))
			switch len(proofs) {
			case 1:
				time.AfterFunc(time.Second, x.ProveSoon)
			case 3:
				cancel()
			}
		}))
		if soon, next := proofs[1]-proofs[0], proofs[2]-proofs[1]; soon > 1100*time.Millisecond || next < 12*time.Second {
			t.Errorf("the proof that was asked for came after %s, the next one %s later", soon, next)
		}
	})
}
