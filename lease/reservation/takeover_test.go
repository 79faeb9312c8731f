package reservation_test

import (
	"testing"

	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestAStrictNodesReservationMovesOnlyAfterTheWait(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	s := l.Store()
	holder := lab.Brief("n2")
	holder.Fencing = record.FencingStrict
	x, err := s.Join(t.Context(), holder)
	l.Check(err)
	had := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	l.Absent(s, "n2")

	mover := l.Join(l.Store(), "n1")
	asked := record.Absence{}
	ask := lab.Asking(config, "default", lab.Identity("db", 0), "c2")
	for what, waited := range map[string]func(record.Absence) bool{"nobody waits": nil,
		"the wait goes on": func(a record.Absence) bool { asked = a; return false }} {
		ask.Waited = waited
		if _, err := mover.Reserve(t.Context(), []reservation.Request{ask}); !isHeld(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if want := (record.Absence{Node: "n2", Revision: x.Generation()}); asked != want {
		t.Errorf("the wait that counts is %+v: want %+v", asked, want)
	}
	ask.Waited = func(record.Absence) bool { return true }
	moved := l.Reserve(mover, ask)[0]
	if moved.Address != had.Address || moved.Holder.Node != "n1" || moved.Epoch <= had.Epoch {
		t.Errorf("it had %+v, and moved it is %+v", had, moved)
	}
}

// What a move rests upon is compared by it: who comes back in the moment before keeps what it has.
func TestAReturnIsTheVetoForAReservationToo(t *testing.T) {
	for what, comeBack := range map[string]func(l *lab.Lab, s *lab.Store, holder record.Node){
		"it is there": func(l *lab.Lab, s *lab.Store, holder record.Node) { l.Join(s, holder.Name) },
		"it was there, and its session has ended": func(l *lab.Lab, s *lab.Store, holder record.Node) {
			_, err := s.Join(l.Context(), holder)
			l.Check(err)
			l.Delete(s.KV.Keys.Session(holder.Name))
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			holder := lab.Brief("n2")
			holder.Fencing = record.FencingStrict
			x, err := s.Join(t.Context(), holder)
			l.Check(err)
			had := l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
			l.Absent(s, "n2")

			ask := lab.Asking(config, "default", lab.Identity("db", 0), "c2")
			ask.Waited = func(a record.Absence) bool {
				if a.Revision != x.Generation() {
					return false
				}
				comeBack(l, s, holder)
				return true
			}
			if done, err := l.Join(l.Store(), "n1").Reserve(t.Context(), []reservation.Request{ask}); !isHeld(err) {
				t.Errorf("it moved to %+v: %v", done, err)
			}
			if r, err := s.Reservations.Of(t.Context(), "default", had.Address); err != nil || r.Revision != had.Revision {
				t.Errorf("the reservation is %+v, %v", r, err)
			}
		})
	}
}
