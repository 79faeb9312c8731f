package session_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

func TestANodeIsAliveWhileItsSessionIsKept(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.JoinBriefly(s, "n1")
	proofs := make(chan time.Duration, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	before := clock.Boottime()
	go func() { ended <- x.Keep(ctx, lab.Told(func(sent time.Duration) { proofs <- sent })) }()
	last := before
	for end := before + 2*time.Duration(x.Node().Session); last < end; {
		sent := <-proofs
		if sent < last || sent > clock.Boottime() {
			t.Fatalf("a proof was sent at %s, after one at %s, before %s", sent, last, clock.Boottime())
		}
		last = sent
	}
	if alive, err := s.Sessions.Sessions(t.Context()); err != nil || len(alive) != 1 || alive[0] != "n1" {
		t.Errorf("alive are %v, %v", alive, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if alive, err := s.Sessions.Sessions(t.Context()); err != nil || len(alive) != 1 {
		t.Errorf("the end of keeping has ended the session: %v, %v", alive, err)
	}
	l.Absent(s, "n1")
}

func TestAProofCountsFromBeforeItsReadWasSent(t *testing.T) {
	l := lab.New(t)
	var now atomic.Int64
	s := l.Store(func(o *kv.Options) {
		o.Clock.Boot = func() time.Duration { return time.Duration(now.Load()) }
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "prove session" {
				now.Add(1) // the answer is here
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	_ = l.Join(s, "n1").Keep(ctx, lab.Told(func(sent time.Duration) {
		if sent != 0 {
			t.Errorf("it counts from %d, and the read was sent at 0", sent)
		}
		cancel()
	}))
	if now.Load() != 1 {
		t.Errorf("the clock is at %d", now.Load())
	}
}

func TestASessionThatEtcdHasEndedIsLost(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.JoinBriefly(s, "n1")
	l.Absent(s, "n1")
	if err := x.Keep(t.Context(), lab.Told(func(time.Duration) { t.Error("a lost session was proven") })); !errors.Is(err, session.ErrLost) {
		t.Errorf("it ended with %v", err)
	}
	// Its regain is another generation.
	again := l.Join(s, "n1")
	if again.Generation() <= x.Generation() {
		t.Errorf("generation %d after %d", again.Generation(), x.Generation())
	}
}

func TestALaterStartReplacesTheSessionAndEveryTransactionOfTheFormerFails(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	pool, revision := config.Pools["default"], config.PoolRevisions["default"]
	former := l.Join(l.Store(), "n1")
	b, err := block.Claim(t.Context(), former.Session, "default", revision, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	later := l.Join(l.Store(), "n1")

	assignment := record.Assignment{Pool: "default", Address: lab.Addr("10.42.16.9"), Attachment: lab.Attachment("c1"), Node: "n1"}
	another := lab.Prefix("10.42.17.0/26")
	for what, err := range map[string]error{
		"claim":   lab.Second(block.Claim(t.Context(), former.Session, "default", revision, lab.Prefix("10.42.16.64/26"))),
		"reclaim": lab.Second(block.Claim(t.Context(), former.Session, "default", revision, b.Prefix)),
		"release": lab.Second(block.Release(t.Context(), former.Session, b, b.Prefix)),
		"publish": rollout.Publish(t.Context(), former.Session, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{assignment}}),
		"reserve": lab.Second(former.Reserve(t.Context(),
			[]reservation.Request{{Pool: pool, PoolRevision: revision, Identity: lab.Identity("db", 0), Attachment: lab.Attachment("c1")}})),
		"assert": lab.Second(block.Assert(t.Context(), former.Session, "default", another, []netip.Prefix{another})),
		"attach": asserts(t.Context(), former, pool, lab.Identity("db", 0), lab.Addr("10.42.0.9")),
		"take":   lab.Second(block.TakeOver(t.Context(), former.Session, b, revision, record.Absence{Node: "n2"})),
		"keep":   former.Keep(t.Context(), lab.Told(func(time.Duration) {})),
	} {
		if !errors.Is(err, session.ErrReplaced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	blocks, err := l.Store().Blocks.List(t.Context())
	l.Check(err)
	if len(blocks) != 1 || blocks[0].Revision != b.Revision {
		t.Errorf("the blocks are %+v", blocks)
	}
	l.Check(rollout.Publish(t.Context(), later.Session, rollout.Batch{Blocks: blocks, Set: []record.Assignment{assignment}}))
}

func TestWhoRewritesTheNodesKeyAloneHasReplacedItToo(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	l.Put(s.KV.Keys.Node("n1"), kv.Encode(lab.Node("n1")))
	if _, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.16.0/26")); !errors.Is(err,
		session.ErrReplaced) {
		t.Errorf("the claim: %v", err)
	}
	if err := rollout.Publish(t.Context(), x.Session, rollout.Batch{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("the publishing: %v", err)
	}
}

// asserts is an AssertReservation of which the error alone counts.
func asserts(ctx context.Context, x *lab.Joined, pool allocator.Pool, id allocator.Identity, at netip.Addr) error {
	_, _, err := reservation.Assert(ctx, x.Session, reservation.Assertion{Pool: pool, Identity: id, Attachment: lab.Attachment("c1"),
		Addresses: []netip.Addr{at},
		Epoch:     1})
	return err
}

func TestALostSessionsTransactionsFail(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.JoinBriefly(s, "n1")
	l.Absent(s, "n1")
	_, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
	if !errors.Is(err, session.ErrLost) {
		t.Errorf("the claim: %v", err)
	}
	if err := rollout.Publish(t.Context(), x.Session, rollout.Batch{}); !errors.Is(err, session.ErrLost) {
		t.Errorf("the publishing: %v", err)
	}
}

func TestANodesNameBelongsToOneMachine(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.JoinBriefly(s, "n1")
	stranger := lab.Node("n1")
	stranger.Machine = "another"
	_, err := s.Join(t.Context(), stranger)
	taken, ok := errors.AsType[*session.NodeTakenError](err)
	if !ok || taken.Machine != "machine of n1" || !strings.Contains(err.Error(), "berthctl node remove n1") {
		t.Fatalf("the error is %v", err)
	}
	l.Absent(s, "n1")
	if _, err := s.Join(t.Context(), stranger); err == nil {
		t.Error("the stranger has joined when the node was away")
	}
	if nodes, err := s.Sessions.Nodes(t.Context()); err != nil || len(nodes) != 1 || nodes[0].Machine != x.Node().Machine {
		t.Errorf("the nodes are %+v, %v", nodes, err)
	}
}

func TestABootWaitsToSeeWhetherTheFormerOneIsAlive(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.JoinBriefly(s, "dead")
	alive := l.JoinBriefly(s, "alive")
	l.Keep(alive)

	rebooted := lab.Node("alive")
	rebooted.Boot = "second"
	_, err := l.Store().Join(t.Context(), rebooted)
	if refusal, ok := errors.AsType[*session.NodeAliveError](err); !ok || refusal.Boot != "first" {
		t.Errorf("beside a live one: %v", err)
	}
	rebooted = lab.Node("dead")
	rebooted.Boot = "second"
	if _, err := l.Store().Join(t.Context(), rebooted); err != nil {
		t.Errorf("after a dead one: %v", err)
	}
}

func TestARestartedAgentJoinsAtOnceAndEndsTheFormerLease(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	former := l.Join(s, "n1")
	later := l.Join(s, "n1")
	leases, err := l.Raw().TimeToLive(t.Context(), former.Lease())
	l.Check(err)
	if leases.TTL > 0 {
		t.Errorf("the former lease still has %d s", leases.TTL)
	}
	session, err := l.Raw().Get(t.Context(), s.KV.Keys.Session("n1"))
	l.Check(err)
	if len(session.Kvs) != 1 || clientv3.LeaseID(session.Kvs[0].Lease) != later.Lease() {
		t.Errorf("the session's key is %v", session.Kvs)
	}
}

func TestWhoCannotJoinIsToldWhyAndLeavesNoLease(t *testing.T) {
	l := lab.New(t)
	l.Own()
	s := l.Store()
	l.Join(s, "n1")
	before, err := l.Raw().Leases(t.Context())
	l.Check(err)
	for want, change := range map[string]func(*record.Node){
		"stateful":           func(n *record.Node) { n.Name = record.OwnerStateful },
		`node "a/b"`:         func(n *record.Node) { n.Name = "a/b" },
		"want 2s or more":    func(n *record.Node) { n.Session = allocator.Duration(time.Second) },
		"belongs to machine": func(n *record.Node) { n.Machine = "another" },
	} {
		n := lab.Node("n1")
		change(&n)
		if _, err := s.Join(t.Context(), n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	after, err := l.Raw().Leases(t.Context())
	l.Check(err)
	if len(after.Leases) > len(before.Leases) {
		t.Errorf("there were %d leases, and now there are %d", len(before.Leases), len(after.Leases))
	}
}

func TestAgentsThatJoinUnderOneNameAtOnceLeaveOneSession(t *testing.T) {
	l := lab.New(t)
	const agents = 4
	all := make(chan *lab.Joined, agents)
	for range agents {
		s := l.Store()
		go func() {
			x, err := s.Join(t.Context(), lab.Node("n1"))
			if err != nil {
				t.Error(err)
			}
			all <- x
		}()
	}
	live := 0
	var sessions []*lab.Joined
	for range agents {
		sessions = append(sessions, <-all)
	}
	for _, x := range sessions {
		if rollout.Publish(t.Context(), x.Session, rollout.Batch{}) == nil {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d sessions are live", live)
	}
}

func TestAJoinThatComesLateChangesNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "n1")
	seen, err := s.Sessions.Lookup(t.Context(), "n1")
	l.Check(err)
	later := l.Join(s, "n1")
	lease, err := s.KV.Grant(t.Context(), time.Minute)
	l.Check(err)
	late := s.Sessions.Entrant(lab.Node("n1"), lease)
	if joined, err := late.Enter(t.Context(), 1, seen); err != nil || joined {
		t.Errorf("it has joined: %v", err)
	}
	l.Check(rollout.Publish(t.Context(), later.Session, rollout.Batch{}))
}
