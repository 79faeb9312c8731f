package agent

import (
	"errors"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
)

// reservation is a member's in etcd; nil: it has none.
func (r *rig) reservation(member string) *record.Reservation {
	r.t.Helper()
	all, err := r.store.Reservations.List(r.t.Context())
	check(r.t, err)
	for _, one := range all {
		if one.Identity.Member == member {
			return &one
		}
	}
	return nil
}

func TestASetThatIsRefusedForOneMemberLeavesTheReservationsOfTheOthersAsTheyWere(t *testing.T) {
	r := newRig(t)
	r.add(r.stateful("old", "db", "db-old"))
	r.del(r.stateful("old", "db", "db-old")) // whose reservation stays
	r.add(r.stateful("runs", "db", "db-1"))
	set := []wire.Container{r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-old"), r.stateful("c", "db", "db-1")}
	if response, err := r.send(&wire.Request{Operation: wire.Insert, Containers: set}); err == nil && response.Error == nil {
		t.Fatal("the set was inserted, and another container has db-1")
	}
	if made := r.reservation("db-0"); made != nil {
		t.Errorf("a member that never was has %+v", made)
	}
	if old := r.reservation("db-old"); old == nil || old.Holder != nil {
		t.Errorf("a member that does not run has %+v", old)
	}
	if runs := r.reservation("db-1"); runs == nil || runs.Holder == nil || runs.Holder.Attachment.Container != "runs" {
		t.Errorf("the member that runs has %+v", runs)
	}
}

func TestARepeatedAddThatFailsLeavesAnIsolatedMemberIsolatedAndItsReservationFree(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	at := attachmentOf(c)
	steal(t, r, "default", addr) // on n2, which has no session and fences by evidence
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolation(at) != nil })
	add := r.onTheWay(c)
	if had := r.reservation("db-0"); had.Holder == nil || had.Holder.Attachment != at {
		t.Fatalf("the repeated ADD has not got the reservation: %+v", had)
	}
	if response := add.end(errors.New("no more links")); response.Error == nil {
		t.Fatalf("an ADD that the kernel refuses is answered: %+v", response)
	}
	if had := r.reservation("db-0"); had == nil || had.Holder != nil {
		t.Errorf("the reservation is %+v, want it kept and attached to nobody", had)
	}
	e := r.agent.Journal.Get(at)
	if e == nil || e.Isolated == nil || r.passes(e.Wiring.Port) {
		t.Errorf("the member is %+v, want it isolated", e)
	}
	r.del(c)
	r.empty()
}
