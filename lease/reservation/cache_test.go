package reservation_test

import (
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheCacheIsEmptyOnceOthersHaveBegunAnotherIncarnationOfTheState(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	l.Handshake(s, "n1", session.Past{})
	had := l.Reserve(l.Join(s, "n1"), lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
	record, _ := l.ClusterRecord(s)
	record.Incarnation++
	l.Put(s.KV.Keys.Cluster(), kv.Encode(record))
	if met := l.Handshake(s, "n1", session.Past{}); !met.New || met.Incarnation != record.Incarnation {
		t.Errorf("it met %+v: want another incarnation", met)
	}
	if hint := s.Reservations.Cached(had.Identity); len(hint) > 0 {
		t.Errorf("it still knows of %+v", hint)
	}
	if met := l.Handshake(s, "n1", session.Past{}); met.New {
		t.Errorf("and again it met %+v", met)
	}
}

func TestAMemberThatWasReleasedGetsTheAddressThatItAsksForThoughItsFormerOneIsRemembered(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	id, x := lab.Identity("db", 0), l.Join(s, "n1")
	had := l.Reserve(x, lab.Asking(config, "default", id, "c1"))[0]
	_, err := l.Store().Reservations.End(t.Context(), id, true) // a tool's, of which this store has not heard
	l.Check(err)
	asked := lab.Addr("10.42.9.9")
	if got := l.Reserve(x, lab.Asking(config, "default", id, "c2", asked))[0]; got.Address != asked {
		t.Errorf("it had %s, asks for %s, and gets %s", had.Address, asked, got.Address)
	}
}
