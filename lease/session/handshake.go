package session

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A handshake is what Handshake reads from etcd, and what this process and its node remember.
type handshake struct {
	now     time.Time
	past    Past
	machine string

	header   *etcdserverpb.ResponseHeader
	actual   string // etcd's own id
	record   record.Cluster
	revision int64 // the record's mod revision; 0: there is none
	damaged  bool  // it could not be read, and record is its former value
	unknown  bool  // the former value is not known either
	node     *record.Node
	nodeAt   int64 // the node key's mod revision
	erased   bool  // somebody has deleted that key

	knownCluster string // the id of the etcd that this process has known; empty: none
	back         bool   // that etcd's revisions have gone back
	goesOn       bool   // this is the incarnation that the process knows
}

// look reads without relying on anything that was known.
func (s *Store) look(ctx context.Context, node, machine string, past Past) (*handshake, error) {
	known := s.kv.Incarnation.Highest()
	t := kv.Transact("meet")
	cluster, own := t.Else(s.kv.Keys.Cluster()), t.Else(s.kv.Keys.Node(node))
	err := s.kv.RetryTxn(ctx, kv.CallTime, t)
	if err != nil {
		return nil, err
	}
	m := &handshake{now: s.kv.Clock.Wall(), past: past, machine: machine, header: t.Header, actual: kv.ClusterID(t.Header.ClusterId)}
	if cluster.Found() {
		m.revision = cluster.Revision()
		if m.record, err = record.ClusterCodec.Read(s.kv.Keys, cluster.KVs[0]); err != nil {
			if m.record, err = kv.Recovered(ctx, s.kv, record.ClusterCodec, cluster.KVs[0]); kv.Damage(err) == nil && err != nil {
				return nil, err
			}
			m.damaged, m.unknown = true, err != nil
		}
	}
	if own.Found() {
		// Join decides whose the name is: it fails where that is not known.
		if record, err := record.NodeCodec.Read(s.kv.Keys, own.KVs[0]); err == nil {
			m.node = &record
		}
		m.nodeAt = own.Revision()
	} else if past.Cluster == m.actual {
		if m.erased, err = s.erased(ctx, node, past.Generation); err != nil {
			return nil, err
		}
	}
	m.goesOn, m.back, m.knownCluster = s.kv.Incarnation.Compare(known, m.header, m.record.Incarnation)
	return m, nil
}

// deletionTime is how long the watch has to notify of a deletion that a read has shown.
const deletionTime = 500 * time.Millisecond

// deletions are the generations of the nodes whose keys were seen to be deleted, in this incarnation of the store.
type deletions struct {
	mu    sync.Mutex
	nodes map[string]int64
}

func (d *deletions) apply(u kv.Update[record.Node]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nodes == nil {
		d.nodes = map[string]int64{}
	}
	for _, n := range u.Gone {
		d.nodes[n.Name] = n.Revision
	}
}

func (d *deletions) is(node string, generation int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nodes[node] == generation
}

func (d *deletions) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nodes = nil
}

// erased reports whether etcd's history has the node's key as it was written at a generation, though it is missing now: then
// somebody has deleted it, and etcd has not gone back.
func (s *Store) erased(ctx context.Context, node string, generation int64) (bool, error) {
	client, err := s.kv.Etcd(ctx)
	if err != nil {
		return false, err
	}
	response, err := kv.Retry(ctx, s.kv, kv.CallTime, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, s.kv.Keys.Node(node), clientv3.WithRev(generation))
	})
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		_ = task.Pause(ctx, deletionTime) // the watch may be about to notify
		return s.deleted.is(node, generation), nil
	case errors.Is(err, rpctypes.ErrFutureRev):
		return false, nil
	case err != nil:
		return false, s.kv.Failed("look for the node's former record", err)
	}
	return kv.RevisionOf(response.Kvs) == generation, nil
}

// verdict is what the cluster's record is to become; nil: it stays.
func (m *handshake) verdict() (*record.Cluster, error) {
	switch {
	case m.revision == 0 && (m.past.Cluster == "" || m.past.Cluster == m.actual && !m.lost()):
		return &record.Cluster{ID: m.actual, Accepted: m.now}, nil // the first to come
	case m.revision == 0:
		return m.void(), nil // etcd was made anew, and containers still run
	case m.unknown:
		return m.void(), nil // it is not known whether the state belongs to this etcd: all nodes assert what they hold
	case m.foreign() && m.knownCluster == "":
		return nil, &ClusterError{Recorded: m.past.Cluster, Actual: m.actual}
	case m.record.ID == m.actual && (m.foreign() || m.lost()):
		return m.void(), nil
	case m.record.ID != "" && m.record.ID != m.actual:
		// A restored etcd may give the same revisions again. A transaction that was sent to the former etcd and is still
		// under way must not find the key as it compares it.
		return m.void(), nil
	case m.damaged:
		return &m.record, nil
	}
	return nil, nil
}

// foreign reports that the past is of a cluster that the state does not come from, and that the node is unknown here.
func (m *handshake) foreign() bool {
	known := m.past.Cluster
	if known == "" || known == m.record.ID || known == m.actual || slices.Contains(m.record.Former, known) {
		return false
	}
	return m.node == nil || m.node.Machine != m.machine
}

// lost reports that etcd has gone back to before something that this process or its node has seen, and that no node has
// noticed yet: the first one to notice begins another incarnation of the state.
func (m *handshake) lost() bool {
	if m.record.Incarnation > m.past.Incarnation {
		return false
	}
	if m.back {
		return true
	}
	return m.past.Cluster == m.actual && m.nodeAt < m.past.Generation && !m.erased
}

func (m *handshake) void() *record.Cluster {
	next := withID(m.record, "", m.now)
	next.Incarnation = max(m.record.Incarnation, m.past.Incarnation) + 1
	if c := m.past.Cluster; c != "" && c != m.actual && !slices.Contains(next.Former, c) {
		next.Former = append(next.Former, c)
	}
	return &next
}
