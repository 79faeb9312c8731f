package lease

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// meetTries bounds how often others may change the cluster's record while it is looked at.
const meetTries = 10

// A Past is what an agent remembers of the cluster that it was part of; the zero one: nothing.
type Past struct {
	Cluster    string // etcd's id of itself, in hexadecimal
	Life       int64  // of the state: Cluster.Life
	Generation int64  // the last one that it joined with
}

// A Standing says how the etcd that answers and the state in it stand to each other.
type Standing struct {
	Cluster    string // etcd's own id
	Life       int64  // of the state
	Revision   int64  // the mod revision of the cluster's record
	Recovering bool   // the state is another etcd's, or one that went back: only what journals and kernels hold is certain
	New        bool   // since this process saw etcd last another life has begun: what it has learned is void
}

// ClusterID is the id of the etcd cluster that answers, in hexadecimal.
func (s *sessionStore) ClusterID(ctx context.Context) (string, error) {
	response, err := s.kv.get(ctx, s.kv.keys.cluster())
	if err != nil {
		return "", err
	}
	return clusterID(response.Header.ClusterId), nil
}

// Meet finds out where etcd stands, and comes before anything that builds upon the state. Who meets a fresh etcd
// writes its id into the cluster's record. Who finds that the id is another's, that revisions went back, or that keys
// which he wrote are missing, voids what is recorded, so that everybody recovers: see AcceptCluster. It fails with
// *ClusterError where a past,
// me's, is of a cluster that this state does not come from.
func (s *sessionStore) Meet(ctx context.Context, node, machine string, past Past) (Standing, error) {
	for range meetTries {
		m, err := s.look(ctx, node, machine, past)
		if err != nil {
			return Standing{}, err
		}
		next, err := m.verdict()
		if err != nil {
			return Standing{}, err
		}
		if next != nil {
			if err := s.rewriteCluster(ctx, m.revision, *next); err != nil {
				return Standing{}, err
			}
			continue // what is there now was written by us or by another
		}
		at := Standing{
			Cluster: m.actual, Life: m.record.Life, Revision: m.revision, Recovering: m.record.ID != m.actual, New: !m.goesOn,
		}
		s.kv.life.meet(m.header, m.record.Life, m.goesOn, func() { s.forget(at) })
		return at, nil
	}
	return Standing{}, errors.New("lease: the record of the cluster keeps changing: try again")
}

// forget drops what was learned in the former life.
func (s *sessionStore) forget(at Standing) {
	s.deleted.reset()
	for _, f := range s.kv.reset {
		f()
	}
	if s.anew != nil {
		s.anew(at)
	}
}

// rewriteCluster writes the cluster's record if it is as it was read. Whether it did, the next look tells: the record is
// the only thing that it compares.
func (s *sessionStore) rewriteCluster(ctx context.Context, revision int64, next Cluster) error {
	key := s.kv.keys.cluster()
	t := transact("rewrite cluster")
	t.If(unchanged(key, revision))
	t.Then(put(key, next))
	return s.kv.insistOn(ctx, callTime, t)
}

// AcceptCluster ends a recovery: the state is that of the etcd which answers from now on. Whoever calls it has waited
// since it first met this etcd for the longest right that any node can have, and a tenth, so that what no one has
// asserted by then is nobody's. A standing that others have ended already is a success.
func (s *sessionStore) AcceptCluster(ctx context.Context, at Standing) error {
	record, err := one(ctx, s.kv, clusterCodec, s.kv.keys.cluster())
	if err != nil || record == nil || record.ID == at.Cluster {
		return err
	}
	next := record.became(at.Cluster)
	t := transact("accept cluster")
	t.If(unchanged(s.kv.keys.cluster(), at.Revision))
	t.Then(put(s.kv.keys.cluster(), next))
	return s.kv.settle(ctx, t)
}

// certain reports whether the state is that of the etcd which answered, by the cluster's record; without one it is.
func certain(keys Keys, h *etcdserverpb.ResponseHeader, kvs []*mvccpb.KeyValue) (bool, error) {
	if len(kvs) == 0 {
		return true, nil
	}
	record, err := clusterCodec.read(keys, kvs[0])
	return record.ID == clusterID(h.ClusterId), err
}

// became is the record once the state is that of an etcd; without an id, once it is nobody's for certain.
func (c Cluster) became(id string) Cluster {
	next := Cluster{ID: id, Accepted: time.Now().UTC(), Life: c.Life, Former: slices.Clone(c.Former)}
	if c.ID != "" && !slices.Contains(next.Former, c.ID) {
		next.Former = append(next.Former, c.ID)
	}
	return next
}

// OnAnotherLife has f called when Meet finds that another life of etcd's has begun, where Standing.New is true: what was
// learned by then is void. No follower's function runs beside f; each begins anew after it, and so f may not wait for
// one, and none of them may call Meet. It is to be set before anything is asked of the Store.
func (s *sessionStore) OnAnotherLife(f func(Standing)) { s.anew = f }
