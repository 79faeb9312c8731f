package node

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func TestANodeThatComesBackIsWaitedForAnew(t *testing.T) {
	var w Absences
	now := record.Node{Name: "n2", Revision: 7, AddressLease: allocator.Duration(10 * time.Millisecond),
		Session: allocator.Duration(time.Millisecond)}
	over := func() bool { _, _, is := w.Over("n2", allocator.Stateless); return is }
	w.ApplyNodes(kv.Update[record.Node]{Full: true, Revision: 8, Set: []record.Node{now}})
	if over() {
		t.Error("it is over before anything is known of its session")
	}
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 6})
	time.Sleep(20 * time.Millisecond)
	if over() {
		t.Error("it is over by news of its session that are older than its node key")
	}
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 8})
	if over() {
		t.Error("it is over at once")
	}
	time.Sleep(20 * time.Millisecond)
	if !over() || !w.Waited(record.Absence{Node: "n2", Revision: 7}, time.Minute) ||
		w.Waited(record.Absence{Node: "n2", Revision: 6}, time.Minute) {
		t.Error("the wait for revision 7 is over, and for no other one")
	}
	now.Revision = 9
	w.ApplyNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{now}})
	if over() {
		t.Error("it has come back, and the former wait counts")
	}
	w.ApplySessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
	w.ApplySessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
	if over() {
		t.Error("it is away again, and the wait is over at once")
	}
	time.Sleep(20 * time.Millisecond)
	if !over() {
		t.Error("the second wait is never over")
	}
}

func TestAReturnThatIsHeardOfAfterItsEndIsWaitedForUnderItsOwnKey(t *testing.T) {
	var w Absences
	now := record.Node{Name: "n2", Revision: 7, AddressLease: allocator.Duration(100 * time.Millisecond)}
	w.ApplyNodes(kv.Update[record.Node]{Full: true, Revision: 8, Set: []record.Node{now}})
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 8})
	w.ApplySessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
	w.ApplySessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
	now.Revision = 9
	w.ApplyNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{now}})
	if a, _, over := w.Over("n2", allocator.Stateless); over || a.Revision != 9 {
		t.Errorf("of its second absence it is told %+v, over is %v", a, over)
	}
	time.Sleep(120 * time.Millisecond)
	if a, _, over := w.Over("n2", allocator.Stateless); !over || a.Revision != 9 {
		t.Errorf("after the wait it is told %+v, over is %v", a, over)
	}
	w.ApplyNodes(kv.Update[record.Node]{Revision: 12, Gone: []record.Node{now}})
	if _, _, over := w.Over("n2", allocator.Stateless); over {
		t.Error("a node without a key is waited for")
	}
}

func TestOneLiveNodeIsTheFirst(t *testing.T) {
	var w Absences
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 8, Set: []record.Presence{{Node: "n1"}, {Node: "n2"}}})
	if !w.First("n1") || w.First("n2") || w.First("n0") {
		t.Errorf("of n1 and n2: n1 is %v, n2 is %v, and n0, which is not there, is %v", w.First("n1"), w.First("n2"), w.First("n0"))
	}
}
