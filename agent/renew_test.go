package agent

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// settlingFor starts an agent that cannot settle until the test lets it, and calls f again and again for so long after it has
// joined: etcd has no record any more of what a container has, and asserting that waits for a request that is under way.
func (r *rig) settlingFor(d time.Duration, f func()) (letSettle func()) {
	r.t.Helper()
	for _, kind := range []string{"reservations", "identities"} {
		r.forgetAll(kind)
	}
	before := r.nodeKey().Revision
	r.open()
	letSettle, err := r.agent.Locks.Lock(r.t.Context(), allocator.Attachment{Network: "net", Container: "member", Interface: "eth0"})
	check(r.t, err)
	r.run()
	r.until("it has joined", func() bool { return r.nodeKey().Revision > before })
	began := time.Now()
	r.until("that much time has passed", func() bool {
		f()
		return time.Since(began) > d
	})
	return letSettle
}

func (r *rig) nodeKey() record.Node {
	r.t.Helper()
	nodes, err := r.store.Nodes.Nodes(r.t.Context())
	check(r.t, err)
	if len(nodes) != 1 {
		r.t.Fatalf("there are the nodes %+v: want one", nodes)
	}
	return nodes[0]
}

func TestASessionIsRenewedHoweverLongItsNodeTakesToSettle(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("member", "db", "db-0"))
	r.stop()
	letSettle := r.settlingFor(3*time.Second, func() {
		if r.agent.reporter.NotReady() == nil {
			t.Fatal("it is ready, and has not settled")
		}
	})
	joined := r.nodeKey().Revision
	letSettle()
	r.until("it is ready", func() bool { return r.agent.reporter.NotReady() == nil })
	if generation := r.agent.Generation(); generation != joined {
		t.Errorf("it had joined with generation %d, and is ready with %d: the session was lost on the way", joined, generation)
	}
}

func TestARightThatHasNotRunOutGoesOnWhileItsNodeSettles(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("member", "db", "db-0"))
	r.strict(2*time.Second, time.Minute)
	r.stop()
	letSettle := r.settlingFor(3*time.Second, func() {
		if got := r.passing(); got["stateful"] == 0 || got["stateless"] == 0 {
			t.Fatalf("%v pass: want both classes, all the time", got)
		}
	})
	letSettle()
	r.until("it is ready", func() bool { return r.agent.reporter.NotReady() == nil })
}

func TestARightThatHasRunOutDoesNotBeginAgainBeforeItsNodeHasSettled(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("member", "db", "db-0"))
	r.strict(2*time.Second, 6*time.Second)
	r.stop()
	r.open()
	r.until("the right has run out", func() bool { return r.passing()["stateful"] == 0 })
	r.stop()
	letSettle := r.settlingFor(2*time.Second, func() {
		if got := r.passing(); got["stateful"] != 0 || r.agent.Rights.Remaining(allocator.Stateful) > 0 {
			t.Fatalf("%v pass before it is known what was lost meanwhile", got)
		}
	})
	letSettle()
	r.until("both pass", func() bool { return len(r.passing()) == 2 })
}

func TestARightDoesNotGoOnPastAGenerationThatIsNotTheNodesOwnLast(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("member", "db", "db-0"))
	r.strict(2*time.Second, time.Minute)
	r.stop()
	key, err := r.etcdctl().Get(t.Context(), "/berth/v1/nodes/n1")
	check(t, err)
	_, err = r.etcdctl().Put(t.Context(), "/berth/v1/nodes/n1", string(key.Kvs[0].Value)) // as another agent, or node remove, would
	check(t, err)
	stateful := time.Duration(0)
	letSettle := r.settlingFor(3*time.Second, func() { stateful = r.passing()["stateful"] })
	if stateful != 0 {
		t.Errorf("stateful containers pass for %s yet: want none, since somebody has written the node's key", stateful)
	}
	letSettle()
	r.until("both pass", func() bool { return len(r.passing()) == 2 })
}
