package lease

import (
	"errors"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// record is the cluster's record as it is in etcd, with its mod revision.
func (l *lab) record(s *Store) (record.Cluster, int64) {
	l.Helper()
	response, err := s.KV.Get(l.Context(), s.KV.Keys.Cluster())
	l.check(err)
	record, err := record.ClusterCodec.Read(s.KV.Keys, response.Kvs[0])
	l.check(err)
	return record, kv.RevisionOf(response.Kvs)
}

func TestTheClustersRecordIsRewrittenOnlyAsItWasSeen(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.meet(s, "n1", session.Past{})
	_, seen := l.record(s)
	l.void(s)
	recovering := l.meet(s, "n1", session.Past{})
	before, revision := l.record(s)
	l.check(s.Sessions.RewriteCluster(t.Context(), seen, record.Cluster{ID: "c0ffee"}))
	if after, now := l.record(s); now != revision {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	// Somebody has voided it anew since: another wait begins, and the end of the former one says nothing.
	l.void(s)
	l.check(s.Sessions.AcceptCluster(t.Context(), recovering))
	if met := l.meet(s, "n1", session.Past{}); !met.Recovering {
		t.Errorf("a wait from before has ended the recovery: %+v", met)
	}
}

func TestWhatWasLearnedIsVoidOnceOthersHaveBegunAnotherLifeOfTheState(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	l.meet(s, "n1", session.Past{})
	had := l.reserve(l.join(s, "n1"), asking(config, "default", identity("db", 0), "c1"))[0]
	record, _ := l.record(s)
	record.Life++
	l.put(s.KV.Keys.Cluster(), kv.Encode(record))
	if met := l.meet(s, "n1", session.Past{}); !met.New || met.Life != record.Life {
		t.Errorf("it met %+v: want another life", met)
	}
	if hint := s.Reservations.Cache.Of(had.Identity); len(hint) > 0 {
		t.Errorf("it still knows of %+v", hint)
	}
	if met := l.meet(s, "n1", session.Past{}); met.New {
		t.Errorf("and again it met %+v", met)
	}
}

// A node that was away for all of a recovery has seen more than etcd has, and that has been dealt with.
func TestWhoComesBackAfterARecoveryDoesNotBeginAnother(t *testing.T) {
	m := newMachine(t)
	at := m.meet(m.store(), "n1", session.Past{})
	m.save("early")
	gone, x := past(at, m.join(m.store(), "n1")), m.join(m.store(), "n2")
	m.back("early")
	s := m.store()
	m.check(s.Sessions.AcceptCluster(t.Context(), m.meet(s, "n2", past(at, x))))
	if met := m.meet(m.store(), "n1", gone); met.Recovering || met.Life != 1 {
		t.Errorf("it met %+v: want the end of the recovery", met)
	}
}

func TestAnotherEtcdIsNoticedWhateverItsRevision(t *testing.T) {
	m := newMachine(t)
	s := m.store()
	m.meet(s, "n1", session.Past{})
	m.back("")
	m.grow(20) // more than the former one had
	m.until("it is noticed", func() bool { _, err := s.Config.Read(t.Context()); return errors.Is(err, kv.ErrStoreReset) })
}

func TestAJournalOfAnotherClusterIsTakenWhereItsMachineIsKnown(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.meet(s, "n1", session.Past{})
	l.join(s, "n1")
	l.meet(l.store(), "n1", session.Past{Cluster: "beef", Generation: 7})
	_, err := l.store().Sessions.Handshake(t.Context(), "n1", "another machine", session.Past{Cluster: "beef", Generation: 7})
	if _, foreign := errors.AsType[*session.ClusterError](err); !foreign {
		t.Errorf("another machine under the name: %v", err)
	}
}
