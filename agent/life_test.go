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
	"github.com/berth-ipam/berth/internal/wire"
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
	r.until("the node has proven a right of a minute", func() bool { return r.agent.rights.Duration(allocator.Stateless) == time.Minute })
	_, err = r.etcdctl().Txn(t.Context()).Then( // at once, as a restore does it
		clientv3.OpPut("/berth/v1/config/settings", string(short.Kvs[0].Value)),
		clientv3.OpPut("/berth/v1/config/revision", string(revision.Kvs[0].Value)),
		clientv3.OpPut("/berth/v1/cluster", `{"id": "c0ffee"}`)).Commit()
	check(t, err)
	r.until("the agent recovers by the former times", func() bool {
		s := r.agent.gate.Session()
		return s.Recovering() && time.Duration(s.Node().AddressLease) == 6*time.Second
	})
	left := func() time.Duration {
		standing, err := r.agent.meet(t.Context())
		check(t, err)
		return r.agent.recoveryLeft(standing)
	}
	if now := left(); now < 30*time.Second {
		t.Errorf("the recovery is over in %s: a node may have had a right of a minute", now)
	}
}

func TestWhatWasLearnedInAFormerLifeOfEtcdIsForgotten(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open()
	a := r.agent
	_, err := a.meet(t.Context())
	check(t, err)
	_, err = a.store.Config.Read(t.Context())
	check(t, err)
	const late = 1 << 40 // revisions that the restored etcd will not reach
	pool := r.pool()
	block := record.Block{Pool: "default", Prefix: pool.BlockOf(netip.MustParseAddr("10.42.200.1")), Revision: late}
	a.configure(&config.Config{Revision: late, Settings: record.DefaultSettings(), Pools: map[string]allocator.Pool{"default": pool}})
	a.blocks.put(block)
	a.absences.takeNodes(kv.Update[record.Node]{Full: true, Revision: late,
		Set: []record.Node{{Name: "n2", Revision: late, Session: allocator.Duration(time.Hour)}}})
	a.rights.Prove(wire.Boottime(), time.Second, 2*time.Hour)
	a.lagging.set(late, true, nil)
	r.foreign()
	standing, err := a.meet(t.Context())
	check(t, err)
	if _, known := a.blocks.at(keyOf(block)); known || a.config.Load().Revision != 0 || a.absences.longestRight(allocator.Stateful) != 0 ||
		a.lagging.revision() != 0 {
		t.Errorf("at %+v it still builds upon a block, a configuration, a node or a status of before", standing)
	}
	if left := a.recoveryLeft(standing); left < 2*time.Hour || a.recovery.longest[allocator.Stateful] < time.Hour {
		t.Errorf("the recovery is over in %s, by %v: this node had a right of two hours, and n2 one of an hour", left, a.recovery.longest)
	}
}

func TestABlockThatWasClaimedInAFormerLifeOfEtcdIsNotTakenInWhereItsAnswerComesLate(t *testing.T) {
	r := newRig(t)
	a := r.agent
	pool := r.pool()
	block := pool.BlockOf(netip.MustParseAddr("10.42.200.1"))
	got := record.Block{Pool: "default", Prefix: block, Revision: 1 << 40, Parts: []record.Part{{Prefix: block, Owner: "n1"}}}
	own := a.gate.Session()
	a.beginAnew(session.ClusterState{Cluster: "c"})
	if err := a.own(own, got); !errors.Is(err, node.ErrSuperseded) {
		t.Errorf("it is taken in: %v", err)
	}
	if _, known := a.blocks.at(keyOf(got)); known {
		t.Error("by its revision no word of this life would count")
	}
}

func TestTheTimeOfARecoveryDoesNotBeginWithoutAConfigurationAndBeginsAnewWithEachLife(t *testing.T) {
	rights := map[allocator.Class]time.Duration{allocator.Stateless: time.Minute}
	var r recovery
	at := session.ClusterState{Cluster: "c", Incarnation: 1}
	long := func() { r.began = time.Now().Add(-time.Hour) }
	r.left(at, rights, true)
	for _, step := range []struct {
		what       string
		at         session.ClusterState
		configured bool
		over       bool
	}{
		{"after an hour", at, true, true},
		{"after an hour without a configuration", at, false, false},
		{"in another life", session.ClusterState{Cluster: "c", Incarnation: 2}, true, false},
		{"with another etcd", session.ClusterState{Cluster: "d", Incarnation: 2}, true, false},
	} {
		long()
		if left := r.left(step.at, rights, step.configured); (left <= 0) != step.over || r.over(allocator.Stateless) != step.over {
			t.Errorf("%s it lasts %s yet", step.what, left)
		}
	}
}
