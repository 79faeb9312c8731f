package session_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// meets is the handshake of n1 by a client of its own, which knows no etcd.
func meets(b *lab.Bubble, past session.Past) session.ClusterState {
	b.Helper()
	return b.Handshake(b.Store(), "n1", past)
}

func TestWhoseKeyWasDeletedByHandVoidsNothing(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		node := s.KV.Keys.Node("n1")
		at := b.Handshake(s, "n1", session.Past{})
		remembered := past(at, b.Join(s, "n1"))
		b.Put(node, kv.Encode(lab.Node("n1"))) // later than it remembers
		if met := meets(b, remembered); met.Recovering {
			t.Errorf("its key was rewritten: it met %+v", met)
		}
		b.Put("/elsewhere", "")
		remembered = past(at, b.Join(s, "n1"))
		b.Delete(node)
		if met := meets(b, remembered); met.Recovering || met.Incarnation != at.Incarnation {
			t.Errorf("its key was deleted: it met %+v", met)
		}
		never := remembered
		never.Generation -= 1 // of another key
		if met := meets(b, never); !met.Recovering {
			t.Errorf("its key was never written so: it met %+v", met)
		}
	})
	t.Run("at a revision that etcd has not reached", func(t *testing.T) {
		lab.InBubble(t, func(b *lab.Bubble) {
			at := meets(b, session.Past{})
			if met := meets(b, session.Past{Cluster: at.Cluster, Generation: 1 << 40}); !met.Recovering {
				t.Errorf("it met %+v", met)
			}
		})
	})
}

// compact has etcd forget all that is not there any more.
func compact(b *lab.Bubble) {
	b.Helper()
	_, err := b.Raw().Compact(b.Context(), b.Put("/elsewhere", ""), clientv3.WithCompactPhysical())
	b.Check(err)
}

func TestADeletionByHandIsRememberedWhenEtcdHasForgottenIt(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		at := b.Handshake(s, "n1", session.Past{})
		b.Beside(func(ctx context.Context) { _ = s.Sessions.FollowNodes(ctx, func(kv.Update[record.Node]) {}) })
		n1, n2 := past(at, b.Join(s, "n1")), past(at, b.Join(s, "n2"))
		time.Sleep(time.Second)
		b.Delete(s.KV.Keys.Node("n1"))
		time.Sleep(time.Second)
		b.Delete(s.KV.Keys.Node("n2"))
		time.Sleep(time.Second)
		compact(b)
		for name, past := range map[string]session.Past{"n1": n1, "n2": n2} {
			if met := b.Handshake(s, name, past); met.Recovering {
				t.Errorf("%s, which has seen its deletion, met %+v", name, met)
			}
		}
		if met := meets(b, n1); !met.Recovering {
			t.Errorf("who has not seen it met %+v: it may have been lost", met)
		}
	})
}

func TestADeletionThatIsHeardOfAMomentAfterItsReadCounts(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		node := s.KV.Keys.Node("n1")
		at := b.Handshake(s, "n1", session.Past{})
		hold, held := make(chan struct{}), false
		b.Beside(func(ctx context.Context) {
			_ = s.Sessions.FollowNodes(ctx, func(u kv.Update[record.Node]) {
				if len(u.Set) > 0 && !held { // the next news wait behind these
					held = true
					<-hold
				}
			})
		})
		remembered := past(at, b.Join(s, "n1"))
		time.Sleep(time.Second)
		b.Delete(node)
		compact(b)
		b.OnCall(func(call string) {
			if call == "after get "+node {
				time.AfterFunc(300*time.Millisecond, func() { close(hold) })
			}
		})
		if met := b.Handshake(s, "n1", remembered); met.Recovering {
			t.Errorf("it met %+v", met)
		}
	})
}

func TestARecordOfTheClusterThatIsGoneIsWrittenAgain(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		at := b.Handshake(s, "n1", session.Past{})
		remembered := past(at, b.Join(s, "n1"))
		for what, spoil := range map[string]func(){
			"deleted": func() { b.Delete(s.KV.Keys.Cluster()) }, "damaged": func() { b.Put(s.KV.Keys.Cluster(), "{") },
		} {
			spoil()
			if met := meets(b, remembered); met.Recovering {
				t.Errorf("%s: it met %+v", what, met)
			}
			if got, _ := b.ClusterRecord(s); got.ID != at.Cluster {
				t.Errorf("%s: the record is %+v", what, got)
			}
		}
		// Where the node's key is gone with it, etcd was made anew.
		b.Delete(s.KV.Keys.Cluster())
		remembered.Generation = 1 << 40
		if met := meets(b, remembered); !met.Recovering {
			t.Errorf("it met %+v", met)
		}
	})
	t.Run("and was never right", func(t *testing.T) {
		lab.InBubble(t, func(b *lab.Bubble) {
			b.Put(b.Store().KV.Keys.Cluster(), "{")
			if met := meets(b, session.Past{}); !met.Recovering || met.Incarnation != 1 {
				t.Errorf("it met %+v: whose the state is, is not known", met)
			}
		})
	})
}

func TestTheRecordOfTheClusterNamesEachFormerEtcdOnce(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		id, err := s.Sessions.ClusterID(b.Context())
		b.Check(err)
		for _, c := range []struct {
			record string
			past   session.Past
			want   []string
		}{
			{`{"id": "c0ffee"}`, session.Past{}, []string{"c0ffee"}},
			{`{"id": "c0ffee"}`, session.Past{Cluster: "c0ffee", Generation: 7}, []string{"c0ffee"}},
			{`{"id": "c0ffee", "former": ["c0ffee", "beef"]}`, session.Past{Cluster: "beef", Generation: 7}, []string{"c0ffee", "beef"}},
			{`{"id": "c0ffee"}`, session.Past{Cluster: id, Generation: 7}, []string{"c0ffee"}},
		} {
			b.Put(s.KV.Keys.Cluster(), c.record)
			if met := meets(b, c.past); !met.Recovering {
				t.Errorf("%+v met %+v", c.past, met)
			}
			if got, _ := b.ClusterRecord(s); got.ID != "" || !slices.Equal(got.Former, c.want) {
				t.Errorf("after %s and %+v the record is %+v, want former ones %q", c.record, c.past, got, c.want)
			}
		}
	})
}

func TestAPastInAnotherEtcdSaysNothingOfTheRevisionsOfThisOne(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		b.Handshake(s, "n1", session.Past{})
		b.Join(s, "n1")
		if met := meets(b, session.Past{Cluster: "beef", Generation: 1 << 40}); met.Recovering {
			t.Errorf("it met %+v", met)
		}
	})
}

func TestARecoveryThatIsUnderWayIsNotBegunAnew(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		b.Handshake(s, "n1", session.Past{})
		b.Void(s)
		at := b.Handshake(s, "n1", session.Past{})
		if met := meets(b, session.Past{Cluster: at.Cluster, Incarnation: at.Incarnation, Generation: 1 << 40}); met != at {
			t.Errorf("it met %+v, the one before %+v", met, at)
		}
	})
}

func TestTheEndOfARecoveryWritesOnlyWhatItCanRead(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		cluster := s.KV.Keys.Cluster()
		at := b.Handshake(s, "n1", session.Past{})
		revision := func() int64 {
			got, err := b.Raw().Get(b.Context(), cluster)
			b.Check(err)
			return kv.RevisionOf(got.Kvs)
		}
		if err := s.Sessions.AcceptCluster(b.Context(), at); err != nil || revision() != at.Revision {
			t.Errorf("what is accepted is written again: %v", err)
		}
		at.Revision = b.Put(cluster, "{")
		if err := s.Sessions.AcceptCluster(b.Context(), at); kv.Damage(err) == nil || revision() != at.Revision {
			t.Errorf("a damaged record: %v", err)
		}
		b.Delete(cluster)
		if err := s.Sessions.AcceptCluster(b.Context(), at); err != nil {
			t.Errorf("no record: %v", err)
		}
	})
}

func TestWhatWasLearnedIsForgottenInTheNextIncarnation(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		var resets []session.ClusterState
		learned := 0
		s.Sessions.OnStoreReset(func(at session.ClusterState) { resets = append(resets, at) })
		s.KV.OnReset(func() { learned++ })
		b.Beside(func(ctx context.Context) { _ = s.Sessions.FollowNodes(ctx, func(kv.Update[record.Node]) {}) })
		at := b.Handshake(s, "n1", session.Past{})
		remembered := past(at, b.Join(s, "n1"))
		time.Sleep(time.Second)
		b.Delete(s.KV.Keys.Node("n1"))
		time.Sleep(time.Second)
		snapshot, err := b.Server.Snapshot()
		b.Check(err)
		b.Check(b.Server.Restore(snapshot))
		met := b.Handshake(s, "n1", remembered)
		if !met.Recovering || !met.New || learned != 1 || !slices.Equal(resets, []session.ClusterState{met}) {
			t.Errorf("it met %+v, forgot %d times, and said %+v", met, learned, resets)
		}
		b.Check(s.Sessions.AcceptCluster(b.Context(), met))
		b.Handshake(s, "n1", session.Past{})
		if learned != 1 || len(resets) != 1 {
			t.Errorf("it forgot %d times, %+v", learned, resets)
		}
		// A deletion of the former one says nothing of this one.
		remembered.Cluster, remembered.Incarnation = met.Cluster, met.Incarnation
		compact(b)
		if now := b.Handshake(s, "n1", remembered); !now.Recovering {
			t.Errorf("it met %+v", now)
		}
	})
}

func TestAHandshakeThatCannotForgetInTimeFails(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s := b.Store()
		b.Handshake(s, "n1", session.Past{})
		b.Join(s, "n1")
		hold := make(chan struct{})
		b.Beside(func(ctx context.Context) { _ = s.Sessions.FollowNodes(ctx, func(kv.Update[record.Node]) { <-hold }) })
		time.Sleep(time.Second)
		snapshot, err := b.Server.Snapshot()
		b.Check(err)
		b.Check(b.Server.Restore(snapshot))
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		if at, err := s.Sessions.Handshake(ctx, "n1", "machine of n1", session.Past{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a follower is at work it met %+v, %v", at, err)
		}
		cancel()
		close(hold)
	})
}

func TestAJournalOfAnotherClusterIsRefusedInWords(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		at := meets(b, session.Past{})
		_, err := b.Store().Sessions.Handshake(b.Context(), "n1", "machine of n1", session.Past{Cluster: "beef", Generation: 7})
		nowhere := &session.NodeTakenError{Node: "n1", Machine: "m"}
		if !strings.Contains(nowhere.Error(), "belongs to machine m: choose") {
			t.Errorf("without an address it is said %q", nowhere)
		}
		if err == nil || !strings.Contains(err.Error(), "cluster beef") || !strings.Contains(err.Error(), "cluster "+at.Cluster) {
			t.Errorf("the error is %v", err)
		}
	})
}
