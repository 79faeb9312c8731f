package agent

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func (r *rig) passes(port string) bool {
	r.t.Helper()
	classes, err := r.agent.Kernel().Classes()
	check(r.t, err)
	return classes[port] != ""
}

func TestAnAddWhoseAddressIsLostOnTheWayIsNotAnsweredAndDoesNotPass(t *testing.T) {
	r := newRig(t)
	add := r.onTheWay(r.stateless("a", "web"))
	r.agent.isolator.Isolate(add.Attachment, isolation.LostFor(add.Entry, "its address is another's by now"))
	add.anew() // it is not answered with an address that is another's
	if r.passes(add.Wiring.Port) {
		t.Error("its port passes")
	}
	add.undone()
	if n := r.agent.Journal.Isolated(); n != 0 {
		t.Errorf("%d are isolated: nobody would ever say that they are gone", n)
	}
}

func TestAnAddThatChoseOutOfABlockWhichIsAnothersByNowBeginsAnew(t *testing.T) {
	r := newRig(t)
	add := r.onTheWay(r.stateless("a", "web"))
	pool, _, err := r.agent.Pool(add.Pool)
	check(t, err)
	block, ok := r.agent.addresses.Blocks.Of(pool, add.Addresses[0])
	if !ok {
		t.Fatal("its block is not known")
	}
	block.Parts = []record.Part{{Prefix: block.Prefix, Owner: "n2"}}
	block.Revision = 1 << 40
	r.agent.addresses.Blocks.Put(block) // the view is news first; the allocator and who is isolated follow
	add.anew()
	add.undone()
}

func TestIsolatingCutsAPortThatPassesAgain(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	e := r.agent.Journal.Entries()[0]
	r.agent.isolator.Isolate(e.Attachment, isolation.LostFor(e, "its address is another's"))
	check(t, r.agent.Kernel().Join(plan.Member(e)))
	r.agent.isolator.Isolate(e.Attachment, isolation.LostFor(e, "its address is another's still"))
	if r.passes(e.Wiring.Port) {
		t.Error("who is isolated once is cut only once")
	}
}

func TestAnOlderWordOfAReservationIsolatesNobody(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("a", "db", "db-0"))
	e := *r.agent.Journal.Entries()[0]
	e.Epoch = 9
	check(t, r.agent.Journal.Hold(&e))
	word := record.Reservation{
		Pool: e.Pool, Address: e.Addresses[0], Epoch: 8, Identity: e.Identity(),
		Holder: &record.Holder{Attachment: allocator.Attachment{Network: "net", Container: "before", Interface: "eth0"}, Node: "n2"},
	}
	r.agent.keeper.Settler.CompareHolder(word)
	if r.agent.Journal.Isolated() != 0 {
		t.Error("it is isolated by an epoch before its own")
	}
	if before := r.generation(); !r.agent.keeper.Older(word) {
		t.Error("it is not seen to be older")
	} else if r.agent.keeper.CompareLate(t.Context(), word); len(r.agent.Reassert) > 0 || r.generation() != before {
		t.Error("the node joins anew for a word that is only late")
	}
	word.Epoch = 10
	r.agent.keeper.Settler.CompareHolder(word)
	if r.agent.Journal.Isolated() != 1 {
		t.Error("it has moved on, and is not isolated")
	}
}

// A person has deleted the record of a block that was kept for reservations, and a node has claimed it.
func TestAContainerWhoseAddressAMemberHasByNowStaysIsolatedThoughEtcdRecordsBoth(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	at := attachmentOf(c)
	r.until("etcd records it", func() bool { return r.assigned(addr) != nil })
	member := allocator.Attachment{Network: "net", Container: "b", Interface: "eth0"}
	reservation := record.Reservation{
		Identity: allocator.Identity{Namespace: "ns", App: "db", Member: "db-0", Network: "net", Interface: "eth0"}, Since: time.Now(), Epoch: 1,
		Holder: &record.Holder{Attachment: member, Node: "n2", Since: time.Now()},
	}
	r.put("reservations/default/"+addr.String(), kv.Encode(reservation))
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolation(at) != nil })
	r.restart()
	if e := r.agent.Journal.Get(at); e.Isolated == nil || r.passes(e.Wiring.Port) {
		t.Errorf("it is isolated: %v, and passes: %v", e.Isolated, r.passes(e.Wiring.Port))
	}
}
