package lease

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A form says how a record of one kind is read. Whatever is read from etcd goes through it, in lists, watches and
// transactions alike, so that a record which somebody has damaged is an error of that record and of nothing else.
type form[T any] struct {
	kind  Kind
	check func(record *T, key Key, revision int64) error // what keeps the record from being built upon; see valid.go
	fill  func(record *T, key Key, revision int64)       // sets what the key and its mod revision say; may be nil
	needs []string                                       // fields that are never left out when it is written
	fresh func() T                                       // what counts for the other fields where they are left out; nil: the zero record
	keyed bool                                           // the key says all that counts, whatever its value is
}

var (
	clusterForm  = form[Cluster]{kind: KindCluster, check: validCluster, needs: []string{"id"}}
	revisionForm = form[changeCount]{kind: KindRevision, check: validCount}
	settingsForm = form[Settings]{
		kind: KindSettings, check: validSettings, fresh: DefaultSettings, needs: []string{"operations", "fencing", "session", "addressLease"},
	}
	sessionForm = form[Presence]{kind: KindSession, keyed: true,
		fill: func(p *Presence, key Key, revision int64) { p.Node, p.Revision = key.Node, revision }}
	nodeForm = form[Node]{kind: KindNode, check: validRecordOfNode,
		fill: func(n *Node, key Key, revision int64) { n.Name, n.Revision = key.Node, revision }}
	statusForm = form[Status]{kind: KindStatus, check: validStatus, fill: func(s *Status, key Key, _ int64) { s.Node = key.Node }}
	poolForm   = form[allocator.Pool]{kind: KindPool, check: validPool, fill: func(p *allocator.Pool, key Key, _ int64) { p.Name = key.Pool }}
	blockForm  = form[Block]{kind: KindBlock, check: validBlock, needs: []string{"prefix", "parts"},
		fill: func(b *Block, key Key, revision int64) {
			b.Pool, b.Revision = key.Pool, revision
		}}
	assignmentForm = form[Assignment]{kind: KindAssignment, check: validAssignment, fill: func(a *Assignment, key Key, _ int64) {
		a.Pool, a.Address = key.Pool, key.Address
	}}
	reservationForm = form[Reservation]{kind: KindReservation, check: validReservation, fill: func(r *Reservation, key Key, revision int64) {
		r.Pool, r.Address, r.Revision = key.Pool, key.Address, revision
	}}
	demandForm = form[Demand]{kind: KindDemand, check: validDemand, fill: func(d *Demand, key Key, revision int64) {
		d.Pool, d.Node, d.Revision = key.Pool, key.Node, revision
	}}
	identityForm = form[IdentityRecord]{kind: KindIdentity, check: validIdentityRecord}
	historyForm  = form[HistoryEntry]{kind: KindHistory, check: validHistory, fill: func(h *HistoryEntry, key Key, revision int64) {
		h.Number = key.Number
		if h.Revision <= 0 || h.Revision > revision { // one that was put back says which its change made
			h.Revision = revision
		}
	}}
)

// maxRecord bounds a record as it is written, in bytes. Etcd itself takes 1.5 MiB unless it is told otherwise.
const maxRecord = 2 << 20

// read fails with *DamagedError.
func (f form[T]) read(keys Keys, kv *mvccpb.KeyValue) (T, error) {
	var record T
	key, err := keys.Parse(string(kv.Key))
	if err != nil {
		return record, &DamagedError{Key: string(kv.Key), Revision: kv.ModRevision, Err: cmp.Or(errors.Unwrap(err), err)}
	}
	if record, err = f.decode(key, kv); err != nil {
		var none T // nothing of it is to be built upon
		if record = none; !f.keyed || key.Kind != f.kind {
			return none, &DamagedError{Key: string(kv.Key), At: key, Revision: kv.ModRevision, Err: err}
		}
	}
	if f.fill != nil {
		f.fill(&record, key, kv.ModRevision)
	}
	return record, nil
}

func (f form[T]) decode(key Key, kv *mvccpb.KeyValue) (record T, err error) {
	if f.fresh != nil {
		record = f.fresh()
	}
	switch {
	case key.Kind != f.kind:
		return record, fmt.Errorf("it is of kind %q: want %q", key.Kind, f.kind)
	case len(kv.Value) > maxRecord:
		return record, fmt.Errorf("it has %d bytes: want %d at most", len(kv.Value), maxRecord)
	case !bytes.HasPrefix(bytes.TrimLeft(kv.Value, " \t\r\n"), []byte("{")): // "null" would pass for a record of zeros
		return record, fmt.Errorf("it is %s: want a JSON object", excerpt(kv.Value))
	}
	if err := f.complete(kv.Value); err != nil {
		return record, err
	}
	if err := json.Unmarshal(kv.Value, &record); err != nil {
		return record, fmt.Errorf("it is no JSON of its kind: %w", err)
	}
	if f.check != nil {
		if err := f.check(&record, key, kv.ModRevision); err != nil {
			return record, err
		}
	}
	return record, nil
}

// complete looks whether a record has the fields that it needs.
func (f form[T]) complete(value []byte) error {
	if len(f.needs) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	for _, name := range f.needs {
		if _, there := fields[name]; !there {
			return fmt.Errorf("%s is missing", name)
		}
	}
	return nil
}

// excerpt is the beginning of a value, for an error.
func excerpt(value []byte) string {
	const most = 40
	if len(value) > most {
		return fmt.Sprintf("%q and %d bytes more", value[:most], len(value)-most)
	}
	return fmt.Sprintf("%q", value)
}

// readAll reads what can be read, and tells what cannot.
func (f form[T]) readAll(keys Keys, kvs []*mvccpb.KeyValue) (records []T, bad []*DamagedError) {
	records = make([]T, 0, len(kvs))
	for _, kv := range kvs {
		if record, err := f.read(keys, kv); err == nil {
			records = append(records, record)
		} else {
			bad = append(bad, damage(err))
		}
	}
	return records, bad
}

// damage is an error of read's; nil where err is another.
func damage(err error) *DamagedError {
	e, _ := errors.AsType[*DamagedError](err)
	return e
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
