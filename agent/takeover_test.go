package agent

import (
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
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
		_, known := r.known("tiny", block.Prefix.Addr())
		return known
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

// The agent learns of what it has taken by the watch alone where the answer of its transaction was lost.
func TestWhatIsTakenByATransactionWithoutAnAnswerIsClearedOfItsFormerOwnersAssignments(t *testing.T) {
	r := newRig(t)
	n2 := r.neighbour("n2", 2*time.Second, 6*time.Second)
	taken := r.oneBlock(n2)
	published := record.Assignment{Pool: "tiny", Address: netip.MustParseAddr("10.43.0.33"), Attachment: allocator.Attachment{Network: "net",
		Container: "x", Interface: "eth0"}, Node: "n2"}
	check(t, rollout.Publish(t.Context(), n2, rollout.Batch{Blocks: []record.Block{taken}, Set: []record.Assignment{published}}))
	var from record.Absence
	r.until("the right of its owner has run out", func() (over bool) {
		from, _, over = r.agent.Absences.Over("n2", allocator.Stateless)
		return over
	})
	_, err := block.TakeOver(t.Context(), r.agent.Gate.Session(), taken, r.config().PoolRevisions["tiny"], from)
	check(t, err)
	r.until("what its former owner has published is gone", func() bool { return r.assigned(published.Address) == nil })
}

func TestASessionThatWasEndedByMistakeIsRegainedWithoutWaitingForItsRenewal(t *testing.T) {
	r := newRig(t)
	r.change(func(c *config.Config) {
		c.Settings.Session = allocator.Duration(10 * time.Minute)
		c.Settings.AddressLease = allocator.Duration(time.Hour)
	})
	r.until("the session is long", func() bool {
		return time.Duration(r.agent.Gate.Session().Node().Session) == 10*time.Minute
	})
	r.regain() // a renewal would come after two minutes
}

func TestTheEndOfAFormerSessionDoesNotEndThePresentOne(t *testing.T) {
	r := newRig(t)
	r.stop()
	a := r.agent
	a.Lost.Lower()
	a.keeper.SessionGone(a.Gate.Session().Generation() - 1)
	if len(a.Lost) != 0 {
		t.Error("the end of a former one ends it")
	}
	a.keeper.SessionGone(a.Gate.Session().Generation())
	if len(a.Lost) != 1 {
		t.Error("its own end does not end it")
	}
}
