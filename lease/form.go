package lease

import (
	"encoding/json"
	"net/netip"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A form says how a record of one kind is read: fill sets what its key and that key's mod revision say. The record is
// the zero one where the key alone is known.
type form[T any] struct {
	kind Kind
	fill func(record *T, key Key, revision int64)
}

var (
	clusterForm = form[Cluster]{KindCluster, func(*Cluster, Key, int64) {}}
	sessionForm = form[Presence]{KindSession, func(p *Presence, key Key, revision int64) { p.Node, p.Revision = key.Node, revision }}
	nodeForm    = form[Node]{KindNode, func(n *Node, key Key, revision int64) { n.Name, n.Revision = key.Node, revision }}
	statusForm  = form[Status]{KindStatus, func(s *Status, key Key, _ int64) { s.Node = key.Node }}
	poolForm    = form[allocator.Pool]{KindPool, func(p *allocator.Pool, key Key, _ int64) { p.Name = key.Pool }}
	blockForm   = form[Block]{KindBlock, func(b *Block, key Key, revision int64) {
		b.Pool, b.Revision = key.Pool, revision
	}}
	assignmentForm = form[Assignment]{KindAssignment, func(a *Assignment, key Key, _ int64) {
		a.Pool, a.Address = key.Pool, key.Address
	}}
	reservationForm = form[Reservation]{KindReservation, func(r *Reservation, key Key, revision int64) {
		r.Pool, r.Address, r.Revision = key.Pool, key.Address, revision
	}}
	demandForm = form[Demand]{KindDemand, func(d *Demand, key Key, revision int64) {
		d.Pool, d.Node, d.Revision = key.Pool, key.Node, revision
	}}
	identityForm = form[IdentityRecord]{KindIdentity, func(*IdentityRecord, Key, int64) {}}
	historyForm  = form[HistoryEntry]{KindHistory, func(h *HistoryEntry, key Key, revision int64) {
		h.Number, h.Revision = key.Number, revision
	}}
)

func (f form[T]) read(keys Keys, kv *mvccpb.KeyValue) (T, error) {
	var record T
	key, err := keys.Parse(string(kv.Key))
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(kv.Value, &record); err != nil {
		return record, &DamagedError{string(kv.Key), err}
	}
	f.fill(&record, key, kv.ModRevision)
	return record, nil
}

// readAll stops at the first record that cannot be read.
func (f form[T]) readAll(keys Keys, kvs []*mvccpb.KeyValue) ([]T, error) {
	records := make([]T, len(kvs))
	for i, kv := range kvs {
		var err error
		if records[i], err = f.read(keys, kv); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// put writes a record without what its key says.
func put(key string, record any, options ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpPut(key, encode(record), options...)
}

func encode(record any) string {
	switch r := record.(type) {
	case Node:
		r.Revision = 0
		record = r
	case Presence:
		r.Node, r.Revision = "", 0
		record = r
	case Status:
		r.Node = ""
		record = r
	case Block:
		r.Pool, r.Revision = "", 0
		record = r
	case Assignment:
		r.Pool, r.Address = "", netip.Addr{}
		record = r
	case Reservation:
		r.Pool, r.Address, r.Revision = "", netip.Addr{}, 0
		record = r
	case Demand:
		r.Pool, r.Node, r.Revision = "", "", 0
		record = r
	case HistoryEntry:
		r.Revision = 0
		record = r
	}
	text, _ := json.Marshal(record) // records hold nothing that JSON could not
	return string(text)
}

// Compares, in words.

func absent(key string) clientv3.Cmp { return unchanged(key, 0) }

// unchanged compares a key's mod revision; 0 means that there is no such key.
func unchanged(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}

// found is what the nth operation of a transaction, a read, has found.
func found(r *clientv3.TxnResponse, n int) []*mvccpb.KeyValue {
	return r.Responses[n].GetResponseRange().GetKvs()
}

// revisionOf is the mod revision of the one key that a read was about; 0: there is no such key.
func revisionOf(kvs []*mvccpb.KeyValue) int64 {
	if len(kvs) == 0 {
		return 0
	}
	return kvs[0].ModRevision
}
