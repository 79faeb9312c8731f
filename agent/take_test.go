package agent

import (
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

var withPrefix = clientv3.WithPrefix()

func (r *rig) sameBlock(a, b netip.Addr) bool {
	pool := r.pool()
	return pool.BlockOf(a) == pool.BlockOf(b)
}

func (r *rig) reserved(address string) bool {
	r.t.Helper()
	s, err := r.store.Reservations.Of(r.t.Context(), "default", netip.MustParseAddr(address))
	check(r.t, err)
	return s != nil
}

// neighbour is another node, which the test plays: it lives as long as it is kept.
func (r *rig) neighbour(name string, session, right time.Duration) *session.Session {
	r.t.Helper()
	x, err := r.peer.Sessions.Join(r.t.Context(), record.Node{
		Name: name, Machine: "machine of " + name, Boot: "b", Journal: "j", Fencing: record.FencingEvidence,
		Session: allocator.Duration(session), AddressLease: allocator.Duration(right), Started: time.Now(),
	})
	check(r.t, err)
	return x
}

// oneBlock makes the pool "tiny", whose only block the neighbour claims.
func (r *rig) oneBlock(x *session.Session) record.Block {
	r.t.Helper()
	r.apply(allocator.Pool{Name: "tiny", CIDRs: prefixes("10.43.0.0/26")})
	block, err := block.Claim(r.t.Context(), x, "tiny", r.config().PoolRevisions["tiny"], netip.MustParsePrefix("10.43.0.0/26"))
	check(r.t, err)
	r.until("the agent knows pool and block", func() bool {
		_, _, err := r.agent.pool("tiny")
		return err == nil && len(r.agent.blocks.in(spaceKey{"tiny", allocator.V4})) == 1
	})
	return block
}

func (r *rig) ofTiny(id string) wire.Container {
	c := r.stateless(id, "web")
	c.Pool = "tiny"
	return c
}

func TestABlockOfANodeThatIsAwayIsTakenOnceItsRightHasRunOut(t *testing.T) {
	r := newRig(t)
	n2 := r.neighbour("n2", 2*time.Second, 6*time.Second)
	block := r.oneBlock(n2)
	published := record.Assignment{Pool: "tiny", Address: netip.MustParseAddr("10.43.0.33"), Attachment: allocator.Attachment{Network: "net",
		Container: "x", Interface: "eth0"}, Node: "n2"}
	check(t, rollout.Publish(t.Context(), n2, rollout.Batch{Blocks: []record.Block{block}, Set: []record.Assignment{published}}))
	r.until("its session has ended", func() bool {
		live, err := r.store.Nodes.Sessions(t.Context())
		check(t, err)
		return len(live) == 1
	})
	ended := time.Now()
	c := r.ofTiny("a")
	r.until("its block is taken", func() bool { _, err := r.ask(wire.Insert, c); return err == nil })
	if waited := time.Since(ended); waited < 6*time.Second {
		t.Errorf("it was taken %s after the session had ended: the right is 6 s", waited)
	}
	blocks, err := r.store.Blocks.List(t.Context())
	check(t, err)
	for _, b := range blocks {
		if b.Pool == "tiny" && (b.Parts[0].Owner != "n1" || !b.Parts[0].Taken) {
			t.Errorf("the block is %+v", b)
		}
	}
	r.until("what n2 had assigned of it is not shown any more", func() bool { return r.assigned(published.Address) == nil })
}

func TestANodeThatComesBackIsWaitedForAnew(t *testing.T) {
	var w absences
	now := record.Node{Name: "n2", Revision: 7, AddressLease: allocator.Duration(10 * time.Millisecond),
		Session: allocator.Duration(time.Millisecond)}
	over := func() bool { _, _, is := w.over("n2", allocator.Stateless); return is }
	w.takeNodes(kv.Update[record.Node]{Full: true, Revision: 8, Set: []record.Node{now}})
	if over() {
		t.Error("it is over before anything is known of its session")
	}
	w.takeSessions(kv.Update[record.Presence]{Full: true, Revision: 6})
	time.Sleep(20 * time.Millisecond)
	if over() {
		t.Error("it is over by news of its session that are older than its node key")
	}
	w.takeSessions(kv.Update[record.Presence]{Full: true, Revision: 8})
	if over() {
		t.Error("it is over at once")
	}
	time.Sleep(20 * time.Millisecond)
	if !over() || !w.waited(record.Absence{Node: "n2", Revision: 7}, time.Minute) ||
		w.waited(record.Absence{Node: "n2", Revision: 6}, time.Minute) {
		t.Error("the wait for revision 7 is over, and for no other one")
	}
	now.Revision = 9
	w.takeNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{now}})
	if over() {
		t.Error("it has come back, and the former wait counts")
	}
	w.takeSessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
	w.takeSessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
	if over() {
		t.Error("it is away again, and the wait is over at once")
	}
	time.Sleep(20 * time.Millisecond)
	if !over() {
		t.Error("the second wait is never over")
	}
}

func TestAReturnThatIsHeardOfAfterItsEndIsWaitedForUnderItsOwnKey(t *testing.T) {
	var w absences
	now := record.Node{Name: "n2", Revision: 7, AddressLease: allocator.Duration(100 * time.Millisecond)}
	w.takeNodes(kv.Update[record.Node]{Full: true, Revision: 8, Set: []record.Node{now}})
	w.takeSessions(kv.Update[record.Presence]{Full: true, Revision: 8})
	w.takeSessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
	w.takeSessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
	now.Revision = 9
	w.takeNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{now}})
	if a, _, over := w.over("n2", allocator.Stateless); over || a.Revision != 9 {
		t.Errorf("of its second absence it is told %+v, over is %v", a, over)
	}
	time.Sleep(120 * time.Millisecond)
	if a, _, over := w.over("n2", allocator.Stateless); !over || a.Revision != 9 {
		t.Errorf("after the wait it is told %+v, over is %v", a, over)
	}
	w.takeNodes(kv.Update[record.Node]{Revision: 12, Gone: []record.Node{now}})
	if _, _, over := w.over("n2", allocator.Stateless); over {
		t.Error("a node without a key is waited for")
	}
}

func TestTheWaitForARightIsLongerThanTheRight(t *testing.T) {
	for _, right := range []time.Duration{15 * time.Second, time.Hour} {
		if wait := ipam.WaitOut(right); wait < right+right/10 {
			t.Errorf("for %s it waits %s: want a tenth more", right, wait)
		}
	}
}

func TestOneLiveNodeIsTheFirst(t *testing.T) {
	var w absences
	w.takeSessions(kv.Update[record.Presence]{Full: true, Revision: 8, Set: []record.Presence{{Node: "n1"}, {Node: "n2"}}})
	if !w.first("n1") || w.first("n2") || w.first("n0") {
		t.Errorf("of n1 and n2: n1 is %v, n2 is %v, and n0, which is not there, is %v", w.first("n1"), w.first("n2"), w.first("n0"))
	}
}

func TestASessionThatWasEndedByMistakeIsRegainedWithoutWaitingForItsRenewal(t *testing.T) {
	r := newRig(t)
	r.change(func(c *config.Config) {
		c.Settings.Session = allocator.Duration(10 * time.Minute)
		c.Settings.AddressLease = allocator.Duration(time.Hour)
	})
	r.until("the session is long", func() bool {
		return time.Duration(r.agent.gate.Session().Node().Session) == 10*time.Minute
	})
	r.regain() // a renewal would come after two minutes
}

func TestTheEndOfAFormerSessionDoesNotEndThePresentOne(t *testing.T) {
	r := newRig(t)
	r.stop()
	a := r.agent
	a.lost.Lower()
	a.sessionGone(a.gate.Session().Generation() - 1)
	if len(a.lost) != 0 {
		t.Error("the end of a former one ends it")
	}
	a.sessionGone(a.gate.Session().Generation())
	if len(a.lost) != 1 {
		t.Error("its own end does not end it")
	}
}
