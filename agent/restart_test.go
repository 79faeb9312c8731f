package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestANoteInTheSpoolIsDoneBeforeAnythingIsAllocated(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	r.stop()
	check(t, wire.WriteNote(r.agent.Spool(), wire.Note{Started: int64(clock.Boottime()), Container: c}))
	r.start()
	r.empty()
	left, err := os.ReadDir(r.agent.Spool())
	check(t, err)
	if len(left) != 0 {
		t.Errorf("the spool still has %v", left)
	}
}

func TestAnAddThatWasNeverAnsweredIsUndoneAtStart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	at := allocator.Attachment{Network: "net", Container: "a", Interface: "eth0"}
	unanswered := *r.agent.Journal.Get(at)
	unanswered.Answered = 0
	check(t, r.agent.Journal.Hold(&unanswered))
	r.restart()
	r.empty()
}

func TestAnAgentThatLostItsJournalTakesInWhatTheKernelKnows(t *testing.T) {
	r := newRig(t)
	a, b := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addrA, addrB := r.add(a), r.add(b)
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	r.start()
	if x, y := r.add(a), r.add(b); x != addrA || y != addrB {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addrA, addrB)
	}
	for _, id := range []string{"c", "d"} {
		if fresh := r.add(r.stateless(id, "")); fresh == addrA || sameBlock(fresh, addrA) {
			t.Errorf("%s was allocated from the block of the lost journal", fresh)
		}
		r.regain() // which changes nothing in that
	}
}

func TestTheBlocksOfALostJournalStayUnusedUntilTheNextBoot(t *testing.T) {
	r := newRig(t)
	ipam := r.stateless("a", "web")
	ipam.Role = wire.IPAM // the kernel knows nothing of it
	addr := r.add(ipam)
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	r.start()
	for _, id := range []string{"b", "c", "d"} {
		fresh := r.add(r.stateless(id, ""))
		if sameBlock(fresh, addr) || r.owned(addr) {
			t.Errorf("%s was allocated; the block of %s, which the lost journal knew, is used: %v", fresh, addr, r.owned(addr))
		}
		if r.restart(); !r.owned(fresh) {
			t.Errorf("the block of %s, which was claimed since, is not used any more", fresh)
		}
	}
	r.stop()
	r.nextBoot()
	r.start()
	if !r.owned(addr) {
		t.Errorf("after a reboot, %s is not the agent's to allocate", addr)
	}
}

func TestAJournalThatIsLostIsNotForgottenByAnAgentThatDiesBeforeItHasSettled(t *testing.T) {
	r := newRig(t)
	addr := r.add(r.stateless("a", "web"))
	r.stop()
	check(t, os.Remove(r.agent.Journal.Path()))
	r.open()
	_, err := r.agent.keeper.Handshake(t.Context())
	check(t, err)
	me, former, err := r.agent.keeper.NodeRecord(t.Context(), r.config())
	check(t, err)
	r.agent.addresses.NoteLostJournal(&me, former)
	_, err = r.agent.Store.Sessions.Join(t.Context(), me)
	check(t, err)
	r.stop()
	r.start()
	if fresh := r.add(r.stateless("b", "")); sameBlock(fresh, addr) {
		t.Errorf("%s was allocated from the block of the lost journal", fresh)
	}
}

// nextBoot is what a reboot leaves of the run directory: nothing.
func (r *rig) nextBoot() {
	r.t.Helper()
	r.boot = "another"
	check(r.t, os.RemoveAll(filepath.Dir(r.agent.socket.Path)))
}

// owned reports whether the allocator has an address.
func (r *rig) owned(addr netip.Addr) (owned bool) {
	r.agent.addresses.Pools.On("default", addr, func(s *allocator.Space) { owned = s.Owns(addr) })
	return owned
}

func sameBlock(a, b netip.Addr) bool {
	p, _ := a.Prefix(allocator.DefaultBlockV4)
	return p.Contains(b)
}
