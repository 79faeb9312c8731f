package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// handshakeTries bounds how often others may change the cluster's record while it is looked at.
const handshakeTries = 10

// A Past is what an agent remembers of the cluster that it was part of. The zero value remembers nothing.
type Past struct {
	Cluster     string // etcd's id of itself, in hexadecimal
	Incarnation int64  // of the state, by the cluster's record
	Generation  int64  // the last one that it joined with
}

// A ClusterState says how the etcd that answers and the state in it belong together.
type ClusterState struct {
	Cluster     string // etcd's own id
	Incarnation int64  // the incarnation of the state
	Revision    int64  // the mod revision of the cluster's record
	Recovering  bool   // the state is another etcd's, or one that went back: only what journals and kernels hold is certain
	New         bool   // another incarnation has begun since this process last saw etcd: what it has learned is void
}

// ClusterID is the id of the etcd cluster that answers, in hexadecimal.
func (d *Directory) ClusterID(ctx context.Context) (string, error) {
	response, err := d.kv.Get(ctx, d.kv.Keys.Cluster())
	if err != nil {
		return "", err
	}
	return kv.ClusterID(response.Header.ClusterId), nil
}

// Handshake finds out whether the state belongs to the etcd that answers. It comes before anything that relies on the state. On
// a fresh etcd it writes etcd's id into the cluster's record. Where the recorded id is another's, where revisions went back,
// or where keys are missing that this node has written, it voids the recorded id, so that all nodes recover: see
// AcceptCluster. It fails with *ClusterError where past is of a cluster that this state does not come from.
func (s *Store) Handshake(ctx context.Context, node, machine string, past Past) (ClusterState, error) {
	for range handshakeTries {
		m, err := s.look(ctx, node, machine, past)
		if err != nil {
			return ClusterState{}, err
		}
		next, err := m.verdict()
		if err != nil {
			return ClusterState{}, err
		}
		if next != nil {
			if err := s.rewriteCluster(ctx, m.revision, *next); err != nil {
				return ClusterState{}, err
			}
			continue // what is there now was written by us or by another
		}
		at := ClusterState{
			Cluster: m.actual, Incarnation: m.record.Incarnation, Revision: m.revision, Recovering: m.record.ID != m.actual, New: !m.goesOn,
		}
		return at, s.kv.Incarnation.Adopt(ctx, m.header, m.record.Incarnation, m.goesOn, func() { s.forget(at) })
	}
	return ClusterState{}, errors.New("lease: the record of the cluster keeps changing: try again")
}

// forget drops what was learned in the former incarnation.
func (s *Store) forget(at ClusterState) {
	s.deleted.reset()
	for _, f := range s.kv.Reset {
		f()
	}
	if s.onReset != nil {
		s.onReset(at)
	}
}

// rewriteCluster writes the cluster's record if it is as it was read. Whether it did, the next look finds out.
func (s *Store) rewriteCluster(ctx context.Context, revision int64, next record.Cluster) error {
	key := s.kv.Keys.Cluster()
	t := kv.Transact("rewrite cluster")
	t.If(kv.Unchanged(key, revision))
	t.Then(kv.Put(key, next))
	return s.kv.RetryTxn(ctx, kv.CallTime, t)
}

// AcceptCluster ends a recovery: from now on the state belongs to the etcd that answers. The caller has waited, since its first
// handshake with this etcd, for the longest right that any node can have, and a tenth: what no node has asserted by then is
// nobody's. Where others have ended the recovery already it succeeds.
func (s *Store) AcceptCluster(ctx context.Context, at ClusterState) error {
	record, err := kv.One(ctx, s.kv, record.ClusterCodec, s.kv.Keys.Cluster())
	if err != nil || record == nil || record.ID == at.Cluster {
		return err
	}
	next := withID(*record, at.Cluster, s.kv.Clock.Wall())
	t := kv.Transact("accept cluster")
	t.If(kv.Unchanged(s.kv.Keys.Cluster(), at.Revision))
	t.Then(kv.Put(s.kv.Keys.Cluster(), next))
	return s.kv.Execute(ctx, t)
}

// Certain reports whether the state belongs to the etcd that answered, by the cluster's record. Without a record it does.
func Certain(keys kv.Keys, h *etcdserverpb.ResponseHeader, kvs []*mvccpb.KeyValue) (bool, error) {
	if len(kvs) == 0 {
		return true, nil
	}
	record, err := record.ClusterCodec.Read(keys, kvs[0])
	return record.ID == kv.ClusterID(h.ClusterId), err
}

// withID is the record once the state is that of an etcd, from now on; without an id, once it is nobody's for certain.
func withID(c record.Cluster, id string, now time.Time) record.Cluster {
	next := record.Cluster{ID: id, Accepted: now, Incarnation: c.Incarnation, Former: slices.Clone(c.Former)}
	if c.ID != "" && !slices.Contains(next.Former, c.ID) {
		next.Former = append(next.Former, c.ID)
	}
	return next
}

// OnStoreReset registers f, which is called when Handshake finds another incarnation of the store, where ClusterState.New is
// true: what was learned by then is void. No follower's function runs while f does, so f may not wait for one, and none of
// them may call Handshake. Each follower begins anew afterwards. It is to be called before the Store is used.
func (s *Store) OnStoreReset(f func(ClusterState)) { s.onReset = f }
