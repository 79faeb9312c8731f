package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// n2 is a node whose rights last for a minute over stateless addresses and for 10 s over stateful ones.
func n2(revision int64) record.Node {
	return record.Node{Name: "n2", Revision: revision, AddressLease: allocator.Duration(time.Minute),
		Session: allocator.Duration(10 * time.Second)}
}

// away makes n2 absent under a revision of its key.
func away(w *Absences, revision int64) {
	w.ApplyNodes(kv.Update[record.Node]{Full: true, Revision: revision, Set: []record.Node{n2(revision)}})
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: revision})
}

// waitsOut fails unless over becomes true when a right and a tenth of it have passed since now, and not a moment before.
func waitsOut(t *testing.T, right time.Duration, over func() bool) {
	t.Helper()
	time.Sleep(right + right/10 - time.Millisecond)
	if over() {
		t.Errorf("a right of %s is over before it and a tenth have passed", right)
	}
	time.Sleep(2 * time.Millisecond)
	if !over() {
		t.Errorf("a right of %s is not over when it and a tenth have passed", right)
	}
}

func TestANodeThatIsAwayIsWaitedForAsLongAsItsRightAndATenth(t *testing.T) {
	for class, right := range map[allocator.Class]time.Duration{allocator.Stateless: time.Minute, allocator.Stateful: 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var w Absences
			away(&w, 7)
			waitsOut(t, right, func() bool {
				a, left, over := w.Over("n2", class)
				if a != (record.Absence{Node: "n2", Revision: 7}) || over != (left <= 0) || left > right+right/10 {
					t.Errorf("it is told %+v, left %s, over %v", a, left, over)
				}
				return over
			})
		})
	}
}

func TestAStatefulAddTakesOnlyFromTheAbsenceThatItHasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Absences
		away(&w, 7)
		waitsOut(t, 10*time.Second, func() bool { return w.Waited(record.Absence{Node: "n2", Revision: 7}, time.Hour) })
		if w.Waited(record.Absence{Node: "n2", Revision: 6}, time.Hour) {
			t.Error("another revision of the node's key counts")
		}
	})
}

func TestANodeWithoutARecordIsWaitedForAsLongAsTheLongestRight(t *testing.T) {
	unknown := record.Absence{Node: "n3"}
	waited := func(w *Absences) func() bool { return func() bool { return w.Waited(unknown, time.Minute) } }
	synctest.Test(t, func(t *testing.T) {
		var w Absences
		if w.Waited(unknown, 0) {
			t.Error("it is over before anything is known of the nodes")
		}
		away(&w, 7)
		time.Sleep(time.Hour)
		if w.Waited(unknown, time.Minute) {
			t.Error("it is over at the first question")
		}
		waitsOut(t, time.Minute, waited(&w))
		// It comes, and is deleted again.
		w.ApplySessions(kv.Update[record.Presence]{Revision: 8, Set: []record.Presence{{Node: "n3"}}})
		if w.Waited(unknown, time.Minute) {
			t.Error("it lives, and the wait is over")
		}
		w.ApplySessions(kv.Update[record.Presence]{Revision: 9, Gone: []record.Presence{{Node: "n3"}}})
		if w.Waited(unknown, time.Minute) {
			t.Error("it is away again, and the wait is over at once")
		}
		waitsOut(t, time.Minute, waited(&w))
		w.ApplyNodes(kv.Update[record.Node]{Revision: 10, Set: []record.Node{{Name: "n3", Revision: 10}}})
		if w.Waited(unknown, time.Minute) {
			t.Error("it has a record, and the wait under none is over")
		}
		w.ApplyNodes(kv.Update[record.Node]{Revision: 11, Gone: []record.Node{{Name: "n3", Revision: 11}}})
		if w.Waited(unknown, time.Minute) {
			t.Error("its record is deleted again, and the wait is over at once")
		}
	})
}

func TestANodeThatComesBackIsWaitedForAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Absences
		over := func() bool { _, _, is := w.Over("n2", allocator.Stateless); return is }
		w.ApplyNodes(kv.Update[record.Node]{Full: true, Revision: 8, Set: []record.Node{n2(7)}})
		time.Sleep(time.Hour)
		if over() {
			t.Error("it is over before anything is known of its session")
		}
		w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 6})
		time.Sleep(time.Hour)
		if over() {
			t.Error("it is over by news of its session that are older than its node key")
		}
		w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 8})
		waitsOut(t, time.Minute, over)
		w.ApplyNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{n2(9)}})
		if over() {
			t.Error("it has come back, and the former wait counts")
		}
		w.ApplySessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
		w.ApplySessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
		waitsOut(t, time.Minute, over)
	})
}

func TestAReturnThatIsHeardOfAfterItsEndIsWaitedForUnderItsOwnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Absences
		away(&w, 7)
		w.ApplySessions(kv.Update[record.Presence]{Revision: 9, Set: []record.Presence{{Node: "n2"}}})
		w.ApplySessions(kv.Update[record.Presence]{Revision: 11, Gone: []record.Presence{{Node: "n2"}}})
		time.Sleep(time.Hour)
		w.ApplyNodes(kv.Update[record.Node]{Revision: 9, Set: []record.Node{n2(9)}})
		waitsOut(t, time.Minute, func() bool {
			a, _, over := w.Over("n2", allocator.Stateless)
			if a.Revision != 9 {
				t.Errorf("of its second absence it is told %+v", a)
			}
			return over
		})
		w.ApplyNodes(kv.Update[record.Node]{Revision: 12, Gone: []record.Node{n2(9)}})
		if _, _, over := w.Over("n2", allocator.Stateless); over {
			t.Error("a node without a key is waited for")
		}
	})
}

func TestOneLiveNodeIsTheFirst(t *testing.T) {
	var w Absences
	w.ApplySessions(kv.Update[record.Presence]{Full: true, Revision: 8, Set: []record.Presence{{Node: "n1"}, {Node: "n2"}}})
	if !w.First("n1") || w.First("n2") || w.First("n0") {
		t.Errorf("of n1 and n2: n1 is %v, n2 is %v, and n0, which is not there, is %v", w.First("n1"), w.First("n2"), w.First("n0"))
	}
}
