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

// A handshake is what Meet sees when it looks at etcd, beside what this process and its node remember.
type handshake struct {
	past    Past
	machine string

	header   *etcdserverpb.ResponseHeader
	actual   string // etcd's own id
	record   record.Cluster
	revision int64 // the record's mod revision; 0: there is none
	damaged  bool  // it could not be read, and record is what it was before
	unknown  bool  // not even that is known
	node     *record.Node
	nodeAt   int64 // the node key's mod revision
	erased   bool  // somebody has deleted that key

	lived  string // the id of the etcd that this process has lived with; empty: with none
	back   bool   // the revisions of that etcd have gone back
	goesOn bool   // this is the life of etcd's that the process knew
}

// look reads without building upon anything that was known.
func (s *Store) look(ctx context.Context, node, machine string, past Past) (*handshake, error) {
	known := s.kv.Incarnation.Highest()
	t := kv.Transact("meet")
	cluster, own := t.Else(s.kv.Keys.Cluster()), t.Else(s.kv.Keys.Node(node))
	err := s.kv.InsistOn(ctx, kv.CallTime, t)
	if err != nil {
		return nil, err
	}
	m := &handshake{past: past, machine: machine, header: t.Header, actual: kv.ClusterID(t.Header.ClusterId)}
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
		// Whose the name is, Join decides: it fails where that is not known.
		if record, err := record.NodeCodec.Read(s.kv.Keys, own.KVs[0]); err == nil {
			m.node = &record
		}
		m.nodeAt = own.Revision()
	} else if past.Cluster == m.actual {
		if m.erased, err = s.erased(ctx, node, past.Generation, m.header.Revision); err != nil {
			return nil, err
		}
	}
	m.goesOn, m.back, m.lived = s.kv.Incarnation.Compare(known, m.header, m.record.Life)
	return m, nil
}

// deletionTime is how long the watch has to tell of a deletion that a read has shown.
const deletionTime = 500 * time.Millisecond

// deletions are the node keys whose deletion the watch has told of, in this life of etcd's, and what they were.
type deletions struct {
	mu    sync.Mutex
	nodes map[string]int64
}

func (d *deletions) take(u kv.Update[record.Node]) {
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

// erased reports whether etcd remembers the node's key as it was written at a generation, though it is missing now: then
// somebody has deleted it, and etcd has not gone back.
func (s *Store) erased(ctx context.Context, node string, generation, now int64) (bool, error) {
	if generation <= 0 || generation > now {
		return false, nil
	}
	if s.deleted.is(node, generation) {
		return true, nil
	}
	client, err := s.kv.Etcd()
	if err != nil {
		return false, err
	}
	response, err := kv.Insist(ctx, s.kv, kv.CallTime, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, s.kv.Keys.Node(node), clientv3.WithRev(generation))
	})
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		_ = task.Pause(ctx, deletionTime) // the watch may be about to tell
		return s.deleted.is(node, generation), nil
	case errors.Is(err, rpctypes.ErrFutureRev):
		return false, nil
	case err != nil:
		return false, s.kv.Failed("look for the node's former record", err)
	}
	return kv.RevisionOf(response.Kvs) == generation, nil
}

// verdict is what the cluster's record is to become; nil: what it is.
func (m *handshake) verdict() (*record.Cluster, error) {
	switch {
	case m.revision == 0 && (m.past.Cluster == "" || m.past.Cluster == m.actual && !m.lost()):
		return &record.Cluster{ID: m.actual, Accepted: became(m.record, "").Accepted}, nil // the first to come
	case m.revision == 0:
		return m.void(), nil // made anew, while there are containers of before
	case m.unknown:
		return m.void(), nil // whether the state is this etcd's is not known: all assert what they hold
	case m.foreign() && m.lived == "":
		return nil, &ClusterError{Recorded: m.past.Cluster, Actual: m.actual}
	case m.record.ID == m.actual && (m.foreign() || m.lost()):
		return m.void(), nil
	case m.record.ID != "" && m.record.ID != m.actual:
		// A restored etcd may give revisions again that the former one has given: what was sent to that one and is still
		// on its way must not find the key as it compares it.
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

// lost reports that etcd has gone back to before something that this process or its node has seen, and that nobody has
// noticed yet: whoever did has begun another life of the state.
func (m *handshake) lost() bool {
	if m.revision != 0 && m.record.Life > m.past.Life {
		return false
	}
	if m.back {
		return true
	}
	return m.past.Cluster == m.actual && m.nodeAt < m.past.Generation && !m.erased
}

func (m *handshake) void() *record.Cluster {
	next := became(m.record, "")
	next.Life = max(m.record.Life, m.past.Life) + 1
	if c := m.past.Cluster; c != "" && c != m.actual && !slices.Contains(next.Former, c) {
		next.Former = append(next.Former, c)
	}
	return &next
}
