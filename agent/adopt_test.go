package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/allocator"
)

func TestAnAgentThatDiedBeforeItTookInWhatTheKernelKnowsLeavesItToTheNext(t *testing.T) {
	r := newRig(t)
	a, b := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addrA, addrB := r.add(a), r.add(b)
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	r.open() // it has begun a journal, and dies
	r.stop()
	r.start()
	if n := len(r.agent.Journal.Entries()); n != 2 {
		t.Fatalf("%d attachments are known: want the two that run", n)
	}
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addrA, addrB)
	}
}

func TestAPortThatTheJournalOfThisBootDoesNotKnowIsRemovedAtStart(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	r.stop()
	r.stray()
	r.start()
	ports, err := r.agent.Kernel().Ports()
	check(t, err)
	if len(ports) != 1 || len(r.agent.Journal.Entries()) != 1 {
		t.Errorf("there are the ports %+v: want that of the container alone", ports)
	}
}

func TestTheBlocksOfALostJournalStayUnusedAlsoIfTheFirstSettlingFails(t *testing.T) {
	r := newRig(t)
	r.stop()
	p := newProxy(t, r.etcd.Endpoints()[0], filepath.Join(r.dir, "proxy.sock"))
	r.via = []string{"unix://" + p.path}
	r.start()
	addr := r.add(r.stateless("a", "web"))
	reserved := r.add(r.stateful("b", "db", "db-0"))
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	for _, key := range []string{"reservations/default/" + reserved.String(), "identities/"} {
		_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/"+key, withPrefix)
		check(t, err)
	}
	p.stick()
	r.begin()
	// Settling is to assert b's reservation under b's lock, and gives up.
	unlock, err := r.agent.Locks.Lock(t.Context(), allocator.Attachment{Network: "net", Container: "b", Interface: "eth0"})
	check(t, err)
	p.unstick()
	before := r.generation()
	r.until("the agent has joined", func() bool { return r.generation() > before })
	joined := r.generation()
	r.until("it has joined anew, since it could not settle", func() bool { return r.generation() > joined })
	unlock()
	r.until("the agent is ready", func() bool { return r.agent.reporter.NotReady() == nil })
	if next := r.add(r.stateless("c", "")); sameBlock(next, addr) {
		t.Errorf("%s was allocated from the block of the lost journal", next)
	}
}

// generation is the node's, as etcd has it.
func (r *rig) generation() int64 {
	r.t.Helper()
	nodes, err := r.store.Nodes.Nodes(r.t.Context())
	check(r.t, err)
	return nodes[0].Revision
}
