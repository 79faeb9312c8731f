package agent

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

func TestARestoreThatIsNoticedWhileANodeJoinsIsMetBeforeAnythingIsBuiltUponIt(t *testing.T) {
	r := newRig(t)
	r.session = 10 * time.Second // longer than joining takes
	r.apply()
	r.stop()
	_, err := r.peer.Sessions.Join(t.Context(), record.Node{ // another boot, whose session joining watches for a while
		Name: "n1", Machine: "m1", Boot: "another", Journal: "j", Fencing: record.FencingEvidence,
		Session: allocator.Duration(4 * time.Second), AddressLease: allocator.Duration(6 * time.Second), Started: time.Now(),
	})
	check(t, err)
	etcd := r.etcdctl()
	leases := func() []clientv3.LeaseStatus {
		all, err := etcd.Leases(t.Context())
		check(t, err)
		return all.Leases
	}
	before := leases()
	r.begin()
	r.until("the agent is joining", func() bool {
		return slices.ContainsFunc(leases(), func(l clientv3.LeaseStatus) bool { return !slices.Contains(before, l) })
	})
	const foreign = `{"id": "c0ffee"}`
	_, err = etcd.Put(t.Context(), "/berth/v1/cluster", foreign)
	check(t, err)
	r.until("the agent has voided the id that is not this etcd's", func() bool {
		record, err := etcd.Get(t.Context(), "/berth/v1/cluster")
		check(t, err)
		return string(record.Kvs[0].Value) != foreign
	})
}

func TestARecoveryLastsAsLongAsTheLongestRightOfTheHistoryThatIsLost(t *testing.T) {
	r := newRig(t)
	r.brief()
	short, err := r.etcdctl().Get(t.Context(), "/berth/v1/config/settings")
	check(t, err)
	revision, err := r.etcdctl().Get(t.Context(), "/berth/v1/config/revision")
	check(t, err)
	r.apply() // an address lease of a minute
	r.until("the node has proven a right of a minute", func() bool { return r.agent.Rights.Duration(allocator.Stateless) == time.Minute })
	_, err = r.etcdctl().Txn(t.Context()).Then( // at once, as a restore does it
		clientv3.OpPut("/berth/v1/config/settings", string(short.Kvs[0].Value)),
		clientv3.OpPut("/berth/v1/config/revision", string(revision.Kvs[0].Value)),
		clientv3.OpPut("/berth/v1/cluster", `{"id": "c0ffee"}`)).Commit()
	check(t, err)
	r.until("the agent recovers by the former times", func() bool {
		s := r.agent.Gate.Session()
		return s.Recovering() && time.Duration(s.Node().AddressLease) == 6*time.Second
	})
	left := func() time.Duration {
		standing, err := r.agent.keeper.Handshake(t.Context())
		check(t, err)
		left, _ := r.agent.keeper.RecoveryLeft(standing)
		return left
	}
	if now := left(); now < 30*time.Second {
		t.Errorf("the recovery is over in %s: a node may have had a right of a minute", now)
	}
}

func TestWhatWasLearnedInAFormerIncarnationOfEtcdIsForgotten(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open()
	a := r.agent
	_, err := a.keeper.Handshake(t.Context())
	check(t, err)
	_, err = a.Store.Config.Read(t.Context())
	check(t, err)
	const late = 1 << 40 // revisions that the restored etcd will not reach
	pool := r.pool()
	block := record.Block{Pool: "default", Prefix: pool.BlockOf(netip.MustParseAddr("10.42.200.1")), Revision: late}
	a.Configure(&config.Config{Revision: late, Settings: record.DefaultSettings(), Pools: map[string]allocator.Pool{"default": pool}})
	a.addresses.Blocks.Put(block)
	a.Absences.ApplyNodes(kv.Update[record.Node]{Full: true, Revision: late,
		Set: []record.Node{{Name: "n2", Revision: late, Session: allocator.Duration(time.Hour)}}})
	a.Rights.Prove(clock.Boottime(), time.Second, 2*time.Hour)
	a.updater.Lagging.Set(0, late, true, nil)
	r.foreign()
	standing, err := a.keeper.Handshake(t.Context())
	check(t, err)
	if _, known := a.addresses.Blocks.Of(&pool, block.Prefix.Addr()); known || a.Config().Revision != 0 ||
		a.LongestRights()[allocator.Stateful] >= time.Hour || a.updater.Lagging.Revision() != 0 {
		t.Errorf("at %+v it still builds upon a block, a configuration, a node or a status of before", standing)
	}
	if left, _ := a.keeper.RecoveryLeft(standing); left < 2*time.Hour || a.keeper.Recovery.Longest[allocator.Stateful] < time.Hour {
		t.Errorf("the recovery is over in %s, by %v: this node had a right of two hours, and n2 one of an hour", left, a.keeper.Recovery.Longest)
	}
}

func TestABlockThatWasClaimedInAFormerIncarnationOfEtcdIsNotTakenInWhereItsAnswerComesLate(t *testing.T) {
	r := newRig(t)
	a := r.agent
	pool := r.pool()
	block := pool.BlockOf(netip.MustParseAddr("10.42.200.1"))
	got := record.Block{Pool: "default", Prefix: block, Revision: 1 << 40, Parts: []record.Part{{Prefix: block, Owner: "n1"}}}
	own := a.Gate.Session()
	a.keeper.OnStoreReset(session.ClusterState{Cluster: "c"})
	if err := a.addresses.Own(own, got); !errors.Is(err, node.ErrSuperseded) {
		t.Errorf("it is taken in: %v", err)
	}
	if _, known := a.addresses.Blocks.Of(&pool, block.Addr()); known {
		t.Error("by its revision no word of this life would count")
	}
}

// The node may have given the part to another, in the history that etcd has lost: settling tells what it holds of it.
func TestWhatARestoredEtcdSaysIsANodesIsTakenInOnlyWhenTheNodeHasSettled(t *testing.T) {
	r := newRig(t)
	a := r.agent
	pool := r.pool()
	block := pool.BlockOf(netip.MustParseAddr("10.42.200.1"))
	got := record.Block{Pool: "default", Prefix: block, Revision: 1, Parts: []record.Part{{Prefix: block, Owner: "n1"}}}
	a.keeper.OnStoreReset(session.ClusterState{Cluster: "c", Recovering: true})
	a.addresses.Blocks.Put(got) // as the watch learns it
	a.Gate.Shared(func() {
		if gained := a.addresses.Reconcile(got.ID()); len(gained) > 0 {
			t.Errorf("it has gained %v", gained)
		}
	})
	a.addresses.Pools.On("default", block.Addr(), func(s *allocator.Space) {
		if s.Owns(block.Addr()) {
			t.Error("its addresses are given")
		}
	})
}

// An agent that starts while etcd recovers takes what the journal knows to be free for its own.
func TestWhatWasFreedOfAPartThatIsAnothersByNowIsForgotten(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.del(c)
	if free := r.agent.Journal.Freed(); len(free) != 1 || free[0].Address != addr {
		t.Fatalf("free are %+v", free)
	}
	pool, _, err := r.agent.Pool("default")
	check(t, err)
	block, _ := r.agent.addresses.Blocks.Of(pool, addr)
	block.Parts, block.Revision = []record.Part{{Prefix: block.Prefix, Owner: "n2"}}, 1<<40
	r.agent.addresses.Blocks.Put(block)
	r.agent.Gate.Shared(func() { r.agent.addresses.Reconcile(block.ID()) })
	if free := r.agent.Journal.Freed(); len(free) > 0 {
		t.Errorf("free are %+v, which another node may have given by now", free)
	}
}
