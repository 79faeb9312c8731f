package agent

import "testing"

func (r *rig) passes(port string) bool {
	r.t.Helper()
	classes, err := r.agent.kernel.Classes()
	check(r.t, err)
	return classes[port] != ""
}

func TestAnAddWhoseAddressIsLostOnTheWayIsNotAnsweredAndDoesNotPass(t *testing.T) {
	r := newRig(t)
	session, adds := r.chosen("a")
	r.agent.isolate(adds[0].entry, "its address is another's by now")
	if err := r.agent.commit(session, adds); err == nil {
		t.Error("it is answered with an address that is another's")
	}
	if r.passes(adds[0].entry.Wiring.Port) {
		t.Error("its port passes")
	}
	r.agent.undo(adds[0])
	r.empty()
	if n := r.agent.isolated.count(); n != 0 {
		t.Errorf("%d are isolated: nobody would ever say that they are gone", n)
	}
}

func TestIsolatingCutsAPortThatPassesAgain(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	e := r.agent.journal.Entries()[0]
	r.agent.isolate(e, "its address is another's")
	check(t, r.agent.kernel.Join(e.Wiring.Port, string(e.Class)))
	r.agent.isolate(e, "its address is another's still")
	if r.passes(e.Wiring.Port) {
		t.Error("who is isolated once is cut only once")
	}
}
