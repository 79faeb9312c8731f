package lease

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
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

func TestANodeIsAliveWhileItsSessionIsKept(t *testing.T) {
	l := newLab(t)
	s := l.store()
	x := l.joinBriefly(s, "n1")
	proofs := make(chan time.Duration, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	before := session.Boottime()
	go func() { ended <- x.Keep(ctx, told(func(sent time.Duration) { proofs <- sent })) }()
	last := before
	for end := before + 2*time.Duration(x.Node().Session); last < end; {
		sent := <-proofs
		if sent < last || sent > session.Boottime() {
			t.Fatalf("a proof was sent at %s, after one at %s, before %s", sent, last, session.Boottime())
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
	l.absent(s, "n1")
}

func TestAProofCountsFromBeforeItsReadWasSent(t *testing.T) {
	l := newLab(t)
	var clock atomic.Int64
	s := l.store(func(o *kv.Options) {
		o.Now = func() time.Duration { return time.Duration(clock.Load()) }
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "prove session" {
				clock.Add(1) // the answer is here
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	_ = l.join(s, "n1").Keep(ctx, told(func(sent time.Duration) {
		if sent != 0 {
			t.Errorf("it counts from %d, and the read was sent at 0", sent)
		}
		cancel()
	}))
	if clock.Load() != 1 {
		t.Errorf("the clock is at %d", clock.Load())
	}
}

func TestASessionThatEtcdHasEndedIsLost(t *testing.T) {
	l := newLab(t)
	s := l.store()
	x := l.joinBriefly(s, "n1")
	l.absent(s, "n1")
	if err := x.Keep(t.Context(), told(func(time.Duration) { t.Error("a lost session was proven") })); !errors.Is(err, session.ErrLost) {
		t.Errorf("it ended with %v", err)
	}
	// Its regain is another generation.
	again := l.join(s, "n1")
	if again.Generation() <= x.Generation() {
		t.Errorf("generation %d after %d", again.Generation(), x.Generation())
	}
}

func TestALaterStartReplacesTheSessionAndEveryTransactionOfTheFormerFails(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	pool, revision := config.Pools["default"], config.PoolRevisions["default"]
	former := l.join(l.store(), "n1")
	block, err := former.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26"))
	l.check(err)
	later := l.join(l.store(), "n1")

	assignment := record.Assignment{Pool: "default", Address: addr("10.42.16.9"), Attachment: attachment("c1"), Node: "n1"}
	for what, err := range map[string]error{
		"claim":   second(former.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.64/26"))),
		"reclaim": second(former.ClaimBlock(t.Context(), "default", revision, block.Prefix)),
		"release": second(former.ReleaseBlock(t.Context(), block, block.Prefix)),
		"publish": former.Publish(t.Context(), rollout.Batch{Blocks: []record.Block{block}, Set: []record.Assignment{assignment}}),
		"reserve": second(former.Reserve(t.Context(),
			[]reservation.Request{{Pool: pool, PoolRevision: revision, Identity: identity("db", 0), Attachment: attachment("c1")}})),
		"assert": second(former.AssertBlock(t.Context(), "default", prefix("10.42.17.0/26"), []netip.Prefix{prefix("10.42.17.0/26")})),
		"attach": former.asserts(t.Context(), pool, identity("db", 0), addr("10.42.0.9")),
		"take":   second(former.TakeBlock(t.Context(), block, revision, record.Absence{Node: "n2"})),
		"keep":   former.Keep(t.Context(), told(func(time.Duration) {})),
	} {
		if !errors.Is(err, session.ErrReplaced) {
			t.Errorf("%s: %v", what, err)
		}
	}
	blocks, err := l.store().Blocks.List(t.Context())
	l.check(err)
	if len(blocks) != 1 || blocks[0].Revision != block.Revision {
		t.Errorf("the blocks are %+v", blocks)
	}
	l.check(later.Publish(t.Context(), rollout.Batch{Blocks: blocks, Set: []record.Assignment{assignment}}))
}

func TestWhoRewritesTheNodesKeyAloneHasReplacedItToo(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	l.put(s.KV.Keys.Node("n1"), kv.Encode(node("n1")))
	if _, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.0/26")); !errors.Is(err,
		session.ErrReplaced) {
		t.Errorf("the claim: %v", err)
	}
	if err := x.Publish(t.Context(), rollout.Batch{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("the publishing: %v", err)
	}
}

// asserts is an AssertReservation of which the error alone counts.
func (x *joined) asserts(ctx context.Context, pool allocator.Pool, id allocator.Identity, at netip.Addr) error {
	_, _, err := x.AssertReservation(ctx, reservation.Assertion{Pool: pool, Identity: id, Attachment: attachment("c1"),
		Addresses: []netip.Addr{at},
		Epoch:     1})
	return err
}

func TestALostSessionsTransactionsFail(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.joinBriefly(s, "n1")
	l.absent(s, "n1")
	_, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.0/26"))
	if !errors.Is(err, session.ErrLost) {
		t.Errorf("the claim: %v", err)
	}
	if err := x.Publish(t.Context(), rollout.Batch{}); !errors.Is(err, session.ErrLost) {
		t.Errorf("the publishing: %v", err)
	}
}

func TestANodesNameBelongsToOneMachine(t *testing.T) {
	l := newLab(t)
	s := l.store()
	x := l.joinBriefly(s, "n1")
	stranger := node("n1")
	stranger.Machine = "another"
	_, err := s.Join(t.Context(), stranger)
	taken, ok := errors.AsType[*session.NodeTakenError](err)
	if !ok || taken.Machine != "machine of n1" || !strings.Contains(err.Error(), "berthctl node remove n1") {
		t.Fatalf("the error is %v", err)
	}
	l.absent(s, "n1")
	if _, err := s.Join(t.Context(), stranger); err == nil {
		t.Error("the stranger has joined when the node was away")
	}
	if nodes, err := s.Sessions.Nodes(t.Context()); err != nil || len(nodes) != 1 || nodes[0].Machine != x.Node().Machine {
		t.Errorf("the nodes are %+v, %v", nodes, err)
	}
}

func TestABootWaitsToSeeWhetherTheFormerOneIsAlive(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.joinBriefly(s, "dead")
	alive := l.joinBriefly(s, "alive")
	l.keep(alive)

	rebooted := node("alive")
	rebooted.Boot = "second"
	_, err := l.store().Join(t.Context(), rebooted)
	if refusal, ok := errors.AsType[*session.NodeAliveError](err); !ok || refusal.Boot != "first" {
		t.Errorf("beside a live one: %v", err)
	}
	rebooted = node("dead")
	rebooted.Boot = "second"
	if _, err := l.store().Join(t.Context(), rebooted); err != nil {
		t.Errorf("after a dead one: %v", err)
	}
}

func TestARestartedAgentJoinsAtOnceAndEndsTheFormerLease(t *testing.T) {
	l := newLab(t)
	s := l.store()
	former := l.join(s, "n1")
	later := l.join(s, "n1")
	leases, err := l.raw().TimeToLive(t.Context(), former.Lease())
	l.check(err)
	if leases.TTL > 0 {
		t.Errorf("the former lease still has %d s", leases.TTL)
	}
	session, err := l.raw().Get(t.Context(), s.KV.Keys.Session("n1"))
	l.check(err)
	if len(session.Kvs) != 1 || clientv3.LeaseID(session.Kvs[0].Lease) != later.Lease() {
		t.Errorf("the session's key is %v", session.Kvs)
	}
}

func TestWhoCannotJoinIsToldWhyAndLeavesNoLease(t *testing.T) {
	l := newLab(t)
	l.own()
	s := l.store()
	l.join(s, "n1")
	before, err := l.raw().Leases(t.Context())
	l.check(err)
	for want, change := range map[string]func(*record.Node){
		"stateful":           func(n *record.Node) { n.Name = record.OwnerStateful },
		`node "a/b"`:         func(n *record.Node) { n.Name = "a/b" },
		"want 2s or more":    func(n *record.Node) { n.Session = allocator.Duration(time.Second) },
		"belongs to machine": func(n *record.Node) { n.Machine = "another" },
	} {
		n := node("n1")
		change(&n)
		if _, err := s.Join(t.Context(), n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	after, err := l.raw().Leases(t.Context())
	l.check(err)
	if len(after.Leases) > len(before.Leases) {
		t.Errorf("there were %d leases, and now there are %d", len(before.Leases), len(after.Leases))
	}
}

func TestAgentsThatJoinUnderOneNameAtOnceLeaveOneSession(t *testing.T) {
	l := newLab(t)
	const agents = 4
	all := make(chan *joined, agents)
	for range agents {
		s := l.store()
		go func() {
			x, err := s.Join(t.Context(), node("n1"))
			if err != nil {
				t.Error(err)
			}
			all <- x
		}()
	}
	live := 0
	var sessions []*joined
	for range agents {
		sessions = append(sessions, <-all)
	}
	for _, x := range sessions {
		if x.Publish(t.Context(), rollout.Batch{}) == nil {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d sessions are live", live)
	}
}

func TestAJoinThatComesLateChangesNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.join(s, "n1")
	seen, err := s.Sessions.Lookup(t.Context(), "n1")
	l.check(err)
	later := l.join(s, "n1")
	lease, err := s.KV.Grant(t.Context(), time.Minute)
	l.check(err)
	late := s.Sessions.Entrant(node("n1"), lease)
	if joined, err := late.Enter(t.Context(), 1, seen); err != nil || joined {
		t.Errorf("it has joined: %v", err)
	}
	l.check(later.Publish(t.Context(), rollout.Batch{}))
}
