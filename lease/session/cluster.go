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

// meetTries bounds how often others may change the cluster's record while it is looked at.
const meetTries = 10

// A Past is what an agent remembers of the cluster that it was part of; the zero one: nothing.
type Past struct {
	Cluster    string // etcd's id of itself, in hexadecimal
	Life       int64  // of the state: Cluster.Life
	Generation int64  // the last one that it joined with
}

// A ClusterState says how the etcd that answers and the state in it stand to each other.
type ClusterState struct {
	Cluster    string // etcd's own id
	Life       int64  // of the state
	Revision   int64  // the mod revision of the cluster's record
	Recovering bool   // the state is another etcd's, or one that went back: only what journals and kernels hold is certain
	New        bool   // since this process saw etcd last another life has begun: what it has learned is void
}

// ClusterID is the id of the etcd cluster that answers, in hexadecimal.
func (d *Directory) ClusterID(ctx context.Context) (string, error) {
	response, err := d.kv.Get(ctx, d.kv.Keys.Cluster())
	if err != nil {
		return "", err
	}
	return kv.ClusterID(response.Header.ClusterId), nil
}

// Handshake finds out where etcd stands, and comes before anything that builds upon the state. Who meets a fresh etcd
// writes its id into the cluster's record. Who finds that the id is another's, that revisions went back, or that keys
// which he wrote are missing, voids what is recorded, so that everybody recovers: see AcceptCluster. It fails with
// *ClusterError where a past,
// me's, is of a cluster that this state does not come from.
func (s *Store) Handshake(ctx context.Context, node, machine string, past Past) (ClusterState, error) {
	for range meetTries {
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
			Cluster: m.actual, Life: m.record.Life, Revision: m.revision, Recovering: m.record.ID != m.actual, New: !m.goesOn,
		}
		s.kv.Incarnation.Meet(m.header, m.record.Life, m.goesOn, func() { s.forget(at) })
		return at, nil
	}
	return ClusterState{}, errors.New("lease: the record of the cluster keeps changing: try again")
}

// forget drops what was learned in the former life.
func (s *Store) forget(at ClusterState) {
	s.deleted.reset()
	for _, f := range s.kv.Reset {
		f()
	}
	if s.anew != nil {
		s.anew(at)
	}
}

// rewriteCluster writes the cluster's record if it is as it was read. Whether it did, the next look tells: the record is
// the only thing that it compares.
func (s *Store) rewriteCluster(ctx context.Context, revision int64, next record.Cluster) error {
	key := s.kv.Keys.Cluster()
	t := kv.Transact("rewrite cluster")
	t.If(kv.Unchanged(key, revision))
	t.Then(kv.Put(key, next))
	return s.kv.InsistOn(ctx, kv.CallTime, t)
}

// AcceptCluster ends a recovery: the state is that of the etcd which answers from now on. Whoever calls it has waited
// since it first met this etcd for the longest right that any node can have, and a tenth, so that what no one has
// asserted by then is nobody's. A standing that others have ended already is a success.
func (s *Store) AcceptCluster(ctx context.Context, at ClusterState) error {
	record, err := kv.One(ctx, s.kv, record.ClusterCodec, s.kv.Keys.Cluster())
	if err != nil || record == nil || record.ID == at.Cluster {
		return err
	}
	next := became(*record, at.Cluster)
	t := kv.Transact("accept cluster")
	t.If(kv.Unchanged(s.kv.Keys.Cluster(), at.Revision))
	t.Then(kv.Put(s.kv.Keys.Cluster(), next))
	return s.kv.Settle(ctx, t)
}

// Certain reports whether the state is that of the etcd which answered, by the cluster's record; without one it is.
func Certain(keys kv.Keys, h *etcdserverpb.ResponseHeader, kvs []*mvccpb.KeyValue) (bool, error) {
	if len(kvs) == 0 {
		return true, nil
	}
	record, err := record.ClusterCodec.Read(keys, kvs[0])
	return record.ID == kv.ClusterID(h.ClusterId), err
}

// became is the record once the state is that of an etcd; without an id, once it is nobody's for certain.
func became(c record.Cluster, id string) record.Cluster {
	next := record.Cluster{ID: id, Accepted: time.Now().UTC(), Life: c.Life, Former: slices.Clone(c.Former)}
	if c.ID != "" && !slices.Contains(next.Former, c.ID) {
		next.Former = append(next.Former, c.ID)
	}
	return next
}

// OnStoreReset has f called when Meet finds that another life of etcd's has begun, where Standing.New is true: what was
// learned by then is void. No follower's function runs beside f; each begins anew after it, and so f may not wait for
// one, and none of them may call Meet. It is to be set before anything is asked of the Store.
func (s *Store) OnStoreReset(f func(ClusterState)) { s.anew = f }
