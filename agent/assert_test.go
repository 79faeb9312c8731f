package agent

import (
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

// put writes a record by hand; an empty one is deleted.
func (r *rig) put(key, value string) {
	r.t.Helper()
	var err error
	if value == "" {
		_, err = r.etcdctl().Delete(r.t.Context(), "/berth/v1/"+key)
	} else {
		_, err = r.etcdctl().Put(r.t.Context(), "/berth/v1/"+key, value)
	}
	check(r.t, err)
}

func TestAPartThatEtcdLostOutOfABlockIsClaimedAgain(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateless("a", "web"))
	pool := r.pool()
	block := pool.BlockOf(addr)
	r.put("blocks/default/"+block.Addr().String(), `{"prefix":"`+block.String()+`","parts":[]}`)
	r.regain()
	blocks, err := r.store.Blocks.List(t.Context())
	check(t, err)
	if len(blocks) != 1 || blocks[0].OwnerOf(addr) != "n1" {
		t.Errorf("blocks %v: want the part of %s to be n1's", blocks, addr)
	}
}

func TestWhatAnIsolatedContainerHasIsNotAssertedAgain(t *testing.T) {
	r := newRig(t)
	plain, member := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addr, reserved := r.add(plain), r.add(member)
	pool := r.pool()
	block := pool.BlockOf(addr)
	r.put("blocks/default/"+block.Addr().String(), `{"prefix":"`+block.String()+`","parts":[{"prefix":"`+block.String()+`","owner":"n2"}]}`)
	steal(t, r, "default", reserved)
	r.until("both are isolated", func() bool { return r.agent.Journal.Isolated() == 2 })
	r.put("blocks/default/"+block.Addr().String(), "") // their new owners have given them up
	r.put("reservations/default/"+reserved.String(), "")
	r.regain()
	blocks, err := r.store.Blocks.List(t.Context())
	check(t, err)
	for _, b := range blocks {
		if b.OwnerOf(addr) != "" {
			t.Errorf("block %+v is owned again", b)
		}
	}
	if r.reserved(reserved.String()) {
		t.Error("the member's address is attached again to a container that is cut off")
	}
}

func TestAMemberWhoseAddressIsInAnothersBlockIsIsolated(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateful("a", "db", "db-0"))
	pool := r.pool()
	block := pool.BlockOf(addr)
	r.put("blocks/default/"+block.Addr().String(), `{"prefix":"`+block.String()+`","parts":[{"prefix":"`+block.String()+`","owner":"n2"}]}`)
	r.put("reservations/default/"+addr.String(), "")
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolated() == 1 })
}

func TestAnAddUnderWayHoldsUpNoSettling(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	e := r.agent.Journal.Entries()[0]
	unlock, err := r.agent.Locks.Lock(t.Context(), e.Attachment) // which the ADD has until it is answered
	check(t, err)
	underWay := *e
	underWay.Answered = 0
	check(t, r.agent.Journal.Hold(&underWay))
	check(t, r.agent.Kernel().Leave(e.Wiring.Port))
	r.put("reservations/default/"+addr.String(), "")
	r.regain()
	if r.passes(e.Wiring.Port) {
		t.Error("settling lets pass what is not answered")
	}
	unlock()
	if _, err := r.ask(wire.Delete, c); err != nil {
		t.Error(err)
	}
}

func TestTheEpochByWhichEtcdAttachesAMemberIsThatOfItsDelete(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	e := *r.agent.Journal.Entries()[0]
	e.Epoch += 7 // the journal's is of a history that etcd has lost
	check(t, r.agent.Journal.Hold(&e))
	r.put("reservations/default/"+addr.String(), "")
	r.regain()
	r.until("it is attached again", func() bool { return r.reserved(addr.String()) })
	other := e
	other.Epoch -= 3
	check(t, r.agent.Journal.Hold(&other))
	r.regain()
	r.del(c)
	r.empty()
}

func TestADamagedRecordOfWhatRunsHereKeepsNothingElseFromSettling(t *testing.T) {
	r := newRig(t)
	plain, damaged, lost := r.add(r.stateless("a", "web")), r.add(r.stateful("b", "db", "db-0")), r.add(r.stateful("c", "db", "db-1"))
	pool := r.pool()
	r.put("blocks/default/"+pool.BlockOf(plain).Addr().String(), "{")
	r.put("reservations/default/"+damaged.String(), "{")
	r.put("reservations/default/"+lost.String(), "")
	r.regain()
	r.until("the other member's reservation is asserted", func() bool { return r.reserved(lost.String()) })
	if next := r.add(r.stateless("d", "web")); pool.BlockOf(next) == pool.BlockOf(plain) {
		t.Errorf("%s was allocated from a block that may be another's", next)
	}
	if n := r.agent.Journal.Isolated(); n != 0 {
		t.Errorf("%d are isolated: nobody has what they have", n)
	}
}
