package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
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
	node     *Node
	nodeAt   int64 // the node key's mod revision

	lived  string // the id of the etcd that this process has lived with; empty: with none
	back   bool   // the revisions of that etcd have gone back
	goesOn bool   // this is the life of etcd's that the process knew
}

// look reads without building upon anything that was known.
func (s *Store) look(ctx context.Context, node, machine string, past Past) (*meeting, error) {
	known := s.life.highest()
	response, err := insist(ctx, s, callTime, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return s.send(ctx, "meet", transaction{Then: []clientv3.Op{clientv3.OpGet(s.keys.cluster()), clientv3.OpGet(s.keys.node(node))}})
	})
	if err != nil {
		return nil, err
	}
	m := &meeting{past: past, machine: machine, header: response.Header, actual: clusterID(response.Header.ClusterId)}
	if kvs := found(response, 0); len(kvs) > 0 {
		m.revision = kvs[0].ModRevision
		if err := json.Unmarshal(kvs[0].Value, &m.record); err != nil {
			return nil, fmt.Errorf("lease: the record at %s cannot be read: %w", kvs[0].Key, err)
		}
	}
	if kvs := found(response, 1); len(kvs) > 0 {
		record, err := nodeForm.read(s.keys, kvs[0])
		if err != nil {
			return nil, err
		}
		m.node, m.nodeAt = &record, kvs[0].ModRevision
	}
	m.goesOn, m.back, m.lived = s.life.compare(known, m.header, m.record.Life)
	return m, nil
}

// verdict is what the cluster's record is to become; nil: what it is.
func (m *meeting) verdict() (*Cluster, error) {
	switch {
	case m.revision == 0 && (m.past.Cluster == "" || m.past.Cluster == m.actual && !m.lost()):
		return &Cluster{ID: m.actual, Accepted: m.record.became("").Accepted}, nil // the first to come
	case m.revision == 0:
		return m.void(), nil // made anew, while there are containers of before
	case m.foreign() && m.lived == "":
		return nil, &ClusterError{Recorded: m.past.Cluster, Actual: m.actual}
	case m.record.ID == m.actual && (m.foreign() || m.lost()):
		return m.void(), nil
	case m.record.ID != "" && m.record.ID != m.actual:
		// A restored etcd may give revisions again that the former one has given: what was sent to that one and is still
		// on its way must not find the key as it compares it.
		return m.void(), nil
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
	return m.past.Cluster == m.actual && m.nodeAt < m.past.Generation
}

func (m *meeting) void() *Cluster {
	next := m.record.became("")
	next.Life = max(m.record.Life, m.past.Life) + 1
	if c := m.past.Cluster; c != "" && c != m.actual && !slices.Contains(next.Former, c) {
		next.Former = append(next.Former, c)
	}
	return &next
}
