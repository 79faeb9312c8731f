package session_test

import (
	"errors"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheClustersRecordIsRewrittenOnlyAsItWasSeen(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Handshake(s, "n1", session.Past{})
	_, seen := l.ClusterRecord(s)
	l.Void(s)
	recovering := l.Handshake(s, "n1", session.Past{})
	before, revision := l.ClusterRecord(s)
	l.Check(s.Sessions.RewriteCluster(t.Context(), seen, record.Cluster{ID: "c0ffee"}))
	if after, now := l.ClusterRecord(s); now != revision {
		t.Errorf("it was %+v, and is %+v", before, after)
	}
	// Somebody has voided it anew since: another wait begins, and the end of the former one says nothing.
	l.Void(s)
	l.Check(s.Sessions.AcceptCluster(t.Context(), recovering))
	if met := l.Handshake(s, "n1", session.Past{}); !met.Recovering {
		t.Errorf("a wait from before has ended the recovery: %+v", met)
	}
}

// A node that was away for all of a recovery has seen more than etcd has, and that has been dealt with.
func TestWhoComesBackAfterARecoveryDoesNotBeginAnother(t *testing.T) {
	m := lab.NewMachine(t)
	at := m.Handshake(m.Store(), "n1", session.Past{})
	m.Save("early")
	gone, x := past(at, m.Join(m.Store(), "n1")), m.Join(m.Store(), "n2")
	m.Back("early")
	s := m.Store()
	m.Check(s.Sessions.AcceptCluster(t.Context(), m.Handshake(s, "n2", past(at, x))))
	if met := m.Handshake(m.Store(), "n1", gone); met.Recovering || met.Incarnation != 1 {
		t.Errorf("it met %+v: want the end of the recovery", met)
	}
}

func TestAnotherEtcdIsNoticedWhateverItsRevision(t *testing.T) {
	m := lab.NewMachine(t)
	s := m.Store()
	m.Handshake(s, "n1", session.Past{})
	m.Back("")
	m.Grow(20) // more than the former one had
	m.Until("it is noticed", func() bool { _, err := s.Config.Read(t.Context()); return errors.Is(err, kv.ErrStoreReset) })
}

func TestAJournalOfAnotherClusterIsTakenWhereItsMachineIsKnown(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Handshake(s, "n1", session.Past{})
	l.Join(s, "n1")
	l.Handshake(l.Store(), "n1", session.Past{Cluster: "beef", Generation: 7})
	_, err := l.Store().Sessions.Handshake(t.Context(), "n1", "another machine", session.Past{Cluster: "beef", Generation: 7})
	if _, foreign := errors.AsType[*session.ClusterError](err); !foreign {
		t.Errorf("another machine under the name: %v", err)
	}
}

// Between two looks of one node another may join, and is given what it finds free.
func TestANodeThatKnowsThatEtcdHasLostRevisionsConfirmsItsStateAtNoMoment(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		at := b.Handshake(s, "n1", session.Past{})
		b.Delete(s.KV.Keys.Cluster())
		b.OnCall(func(call string) {
			got, err := b.Raw().Get(b.Context(), s.KV.Keys.Cluster())
			b.Check(err)
			for _, each := range got.Kvs {
				if record, err := record.ClusterCodec.Read(s.KV.Keys, each); err != nil || record.ID == at.Cluster {
					t.Errorf("%s it has written %+v, %v", call, record, err)
				}
			}
		})
		met := b.Handshake(b.Store(), "n1", session.Past{Cluster: at.Cluster, Generation: 1 << 40})
		b.OnCall(nil)
		if !met.Recovering {
			t.Errorf("it met %+v", met)
		}
	})
}
