package lease

import (
	"errors"
	"testing"
)

// record is the cluster's record as it is in etcd, with its mod revision.
func (l *lab) record(s *Store) (Cluster, int64) {
	l.Helper()
	response, err := s.get(l.Context(), s.keys.cluster())
	l.check(err)
	record, err := clusterCodec.read(s.keys, response.Kvs[0])
	l.check(err)
	return record, revisionOf(response.Kvs)
}

func TestTheClustersRecordIsRewrittenOnlyAsItWasSeen(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.meet(s, "n1", Past{})
	_, seen := l.record(s)
	l.void(s)
	recovering := l.meet(s, "n1", Past{})
	before, revision := l.record(s)
	l.check(s.rewriteCluster(t.Context(), seen, Cluster{ID: "c0ffee"}))
	if after, now := l.record(s); now != revision {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	// Somebody has voided it anew since: another wait begins, and the end of the former one says nothing.
	l.void(s)
	l.check(s.AcceptCluster(t.Context(), recovering))
	if met := l.meet(s, "n1", Past{}); !met.Recovering {
		t.Errorf("a wait from before has ended the recovery: %+v", met)
	}
}

func TestWhatWasLearnedIsVoidOnceOthersHaveBegunAnotherLifeOfTheState(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	l.meet(s, "n1", Past{})
	had := l.reserve(l.join(s, "n1"), asking(config, "default", identity("db", 0), "c1"))[0]
	record, _ := l.record(s)
	record.Life++
	l.put(s.keys.cluster(), encode(record))
	if met := l.meet(s, "n1", Past{}); !met.New || met.Life != record.Life {
		t.Errorf("it met %+v: want another life", met)
	}
	if hint := s.hints.of(had.Identity); len(hint) > 0 {
		t.Errorf("it still knows of %+v", hint)
	}
	if met := l.meet(s, "n1", Past{}); met.New {
		t.Errorf("and again it met %+v", met)
	}
}

// A node that was away for all of a recovery has seen more than etcd has, and that has been dealt with.
func TestWhoComesBackAfterARecoveryDoesNotBeginAnother(t *testing.T) {
	m := newMachine(t)
	at := m.meet(m.store(), "n1", Past{})
	m.save("early")
	gone, x := past(at, m.join(m.store(), "n1")), m.join(m.store(), "n2")
	m.back("early")
	s := m.store()
	m.check(s.AcceptCluster(t.Context(), m.meet(s, "n2", past(at, x))))
	if met := m.meet(m.store(), "n1", gone); met.Recovering || met.Life != 1 {
		t.Errorf("it met %+v: want the end of the recovery", met)
	}
}

func TestAnotherEtcdIsNoticedWhateverItsRevision(t *testing.T) {
	m := newMachine(t)
	s := m.store()
	m.meet(s, "n1", Past{})
	m.back("")
	m.grow(20) // more than the former one had
	m.until("it is noticed", func() bool { _, err := s.Config(t.Context()); return errors.Is(err, ErrOtherLife) })
}

func TestAJournalOfAnotherClusterIsTakenWhereItsMachineIsKnown(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.meet(s, "n1", Past{})
	l.join(s, "n1")
	l.meet(l.store(), "n1", Past{Cluster: "beef", Generation: 7})
	_, err := l.store().Meet(t.Context(), "n1", "another machine", Past{Cluster: "beef", Generation: 7})
	if _, foreign := errors.AsType[*ClusterError](err); !foreign {
		t.Errorf("another machine under the name: %v", err)
	}
}
