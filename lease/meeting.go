package lease

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A meeting is what Meet sees when it looks at etcd, beside what this process and its node remember.
type meeting struct {
	past    Past
	machine string

	header   *etcdserverpb.ResponseHeader
	actual   string // etcd's own id
	record   Cluster
	revision int64 // the record's mod revision; 0: there is none
	damaged  bool  // it could not be read, and record is what it was before
	unknown  bool  // not even that is known
	node     *Node
	nodeAt   int64 // the node key's mod revision
	erased   bool  // somebody has deleted that key

	lived  string // the id of the etcd that this process has lived with; empty: with none
	back   bool   // the revisions of that etcd have gone back
	goesOn bool   // this is the life of etcd's that the process knew
}

// look reads without building upon anything that was known.
func (s *sessionStore) look(ctx context.Context, node, machine string, past Past) (*meeting, error) {
	known := s.kv.life.highest()
	t := transact("meet")
	cluster, own := t.Else(s.kv.keys.cluster()), t.Else(s.kv.keys.node(node))
	err := s.kv.insistOn(ctx, callTime, t)
	if err != nil {
		return nil, err
	}
	m := &meeting{past: past, machine: machine, header: t.header, actual: clusterID(t.header.ClusterId)}
	if cluster.there() {
		m.revision = cluster.revision()
		if m.record, err = clusterCodec.read(s.kv.keys, cluster.kvs[0]); err != nil {
			if m.record, err = recovered(ctx, s.kv, clusterCodec, cluster.kvs[0]); damage(err) == nil && err != nil {
				return nil, err
			}
			m.damaged, m.unknown = true, err != nil
		}
	}
	if own.there() {
		// Whose the name is, Join decides: it fails where that is not known.
		if record, err := nodeCodec.read(s.kv.keys, own.kvs[0]); err == nil {
			m.node = &record
		}
		m.nodeAt = own.revision()
	} else if past.Cluster == m.actual {
		if m.erased, err = s.erased(ctx, node, past.Generation, m.header.Revision); err != nil {
			return nil, err
		}
	}
	m.goesOn, m.back, m.lived = s.kv.life.compare(known, m.header, m.record.Life)
	return m, nil
}

// deletionTime is how long the watch has to tell of a deletion that a read has shown.
const deletionTime = 500 * time.Millisecond

// deletions are the node keys whose deletion the watch has told of, in this life of etcd's, and what they were.
type deletions struct {
	mu    sync.Mutex
	nodes map[string]int64
}

func (d *deletions) take(u Update[Node]) {
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
func (s *sessionStore) erased(ctx context.Context, node string, generation, now int64) (bool, error) {
	if generation <= 0 || generation > now {
		return false, nil
	}
	if s.deleted.is(node, generation) {
		return true, nil
	}
	client, err := s.kv.etcd()
	if err != nil {
		return false, err
	}
	response, err := insist(ctx, s.kv, callTime, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, s.kv.keys.node(node), clientv3.WithRev(generation))
	})
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		_ = pause(ctx, deletionTime) // the watch may be about to tell
		return s.deleted.is(node, generation), nil
	case errors.Is(err, rpctypes.ErrFutureRev):
		return false, nil
	case err != nil:
		return false, s.kv.failed("look for the node's former record", err)
	}
	return revisionOf(response.Kvs) == generation, nil
}

// verdict is what the cluster's record is to become; nil: what it is.
func (m *meeting) verdict() (*Cluster, error) {
	switch {
	case m.revision == 0 && (m.past.Cluster == "" || m.past.Cluster == m.actual && !m.lost()):
		return &Cluster{ID: m.actual, Accepted: m.record.became("").Accepted}, nil // the first to come
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
func (m *meeting) foreign() bool {
	known := m.past.Cluster
	if known == "" || known == m.record.ID || known == m.actual || slices.Contains(m.record.Former, known) {
		return false
	}
	return m.node == nil || m.node.Machine != m.machine
}

// lost reports that etcd has gone back to before something that this process or its node has seen, and that nobody has
// noticed yet: whoever did has begun another life of the state.
func (m *meeting) lost() bool {
	if m.revision != 0 && m.record.Life > m.past.Life {
		return false
	}
	if m.back {
		return true
	}
	return m.past.Cluster == m.actual && m.nodeAt < m.past.Generation && !m.erased
}

func (m *meeting) void() *Cluster {
	next := m.record.became("")
	next.Life = max(m.record.Life, m.past.Life) + 1
	if c := m.past.Cluster; c != "" && c != m.actual && !slices.Contains(next.Former, c) {
		next.Former = append(next.Former, c)
	}
	return &next
}
