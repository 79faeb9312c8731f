package agent

import (
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

// kept are the members that have a reservation in etcd.
func (r *rig) kept() (members map[string]bool) {
	r.t.Helper()
	all, err := r.store.Reservations.List(r.t.Context())
	check(r.t, err)
	members = map[string]bool{}
	for _, one := range all {
		members[one.Identity.Member] = true
	}
	return members
}

func TestAFailedSetLeavesNoReservationOfAMemberThatNeverWas(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("old", "db", "db-old"))
	r.del(r.stateful("old", "db", "db-old")) // whose reservation stays
	bad := r.stateless("bad", "web")
	bad.Bridge = "lo" // the kernel refuses it, when all else is done
	set := []wire.Container{r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-old"), bad}
	if response, err := r.send(&wire.Request{Operation: wire.Insert, Containers: set}); err == nil && response.Error == nil {
		t.Fatal("the set was inserted")
	}
	r.until("what the set made is ended, and what was there before stays", func() bool {
		kept := r.kept()
		return !kept["db-0"] && kept["db-old"]
	})
	held := r.add(r.stateful("c", "db", "db-1"))
	again := r.stateful("d", "db", "db-1")
	r.refused(wire.CodeTryAgain, again) // another container has it
	if !r.kept()["db-1"] || r.agent.Journal.Holder("default", held) == nil {
		t.Error("a refused ADD has ended the reservation of a member that runs")
	}
}

func TestAnADDThatWasNeverAnsweredLeavesNoReservation(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	unanswered := *r.agent.Journal.Entries()[0]
	unanswered.Answered = 0
	check(t, r.agent.Journal.Hold(&unanswered))
	r.restart() // as after a kill in the middle of the ADD
	r.until("its reservation is ended", func() bool { return !r.kept()["db-0"] })
}

func TestADeletionWithReleaseIsDoneWhenEtcdIsBack(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	r.etcd.Stop()
	if _, err := r.send(&wire.Request{Operation: wire.Delete, Release: true, Containers: []wire.Container{c}}); err == nil {
		t.Error("a reservation that etcd still has is said to be given up")
	}
	r.startEtcd()
	r.until("the reservation is given up", func() bool {
		all, err := r.store.Reservations.List(t.Context())
		return err == nil && len(all) == 0
	})
}
