package lease

import (
	"fmt"
	"net/netip"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
)

var (
	clusterCodec  = codec[Cluster]{kind: KindCluster, check: validCluster, needs: []string{"id"}}
	revisionCodec = codec[changeCount]{kind: KindRevision, check: validCount}
	settingsCodec = codec[Settings]{
		kind: KindSettings, check: validSettings, fresh: DefaultSettings, needs: []string{"operations", "fencing", "session", "addressLease"},
	}
	sessionCodec = codec[Presence]{kind: KindSession, keyed: true, fill: func(p *Presence, key Key, revision int64) {
		p.Node, p.Revision = key.Node, revision
	}}
	nodeCodec = codec[Node]{kind: KindNode, check: validRecordOfNode, fill: func(n *Node, key Key, revision int64) {
		n.Name, n.Revision = key.Node, revision
	}}
	statusCodec = codec[Status]{kind: KindStatus, check: validStatus, fill: func(s *Status, key Key, _ int64) { s.Node = key.Node }}
	poolCodec   = codec[allocator.Pool]{
		kind: KindPool, check: validPool, fill: func(p *allocator.Pool, key Key, _ int64) { p.Name = key.Pool },
	}
	blockCodec = codec[Block]{
		kind: KindBlock, check: validBlock, needs: []string{"prefix", "parts"},
		fill: func(b *Block, key Key, revision int64) { b.Pool, b.Revision = key.Pool, revision },
	}
	assignmentCodec = codec[Assignment]{kind: KindAssignment, check: validAssignment, fill: func(a *Assignment, key Key, _ int64) {
		a.Pool, a.Address = key.Pool, key.Address
	}}
	reservationCodec = codec[Reservation]{kind: KindReservation, check: validReservation, fill: func(r *Reservation, key Key, revision int64) {
		r.Pool, r.Address, r.Revision = key.Pool, key.Address, revision
	}}
	demandCodec = codec[Demand]{kind: KindDemand, check: validDemand, fill: func(d *Demand, key Key, revision int64) {
		d.Pool, d.Node, d.Revision = key.Pool, key.Node, revision
	}}
	identityCodec = codec[IdentityRecord]{kind: KindIdentity, check: validIdentityRecord}
	historyCodec  = codec[HistoryEntry]{kind: KindHistory, check: validHistory, fill: func(h *HistoryEntry, key Key, revision int64) {
		h.Number = key.Number
		if h.Revision <= 0 || h.Revision > revision { // one that was put back says which its change made
			h.Revision = revision
		}
	}}
)

var (
	questionCodec = codec[Question]{
		kind: KindQuestion, check: validQuestion, fill: func(q *Question, key Key, revision int64) {
			q.Slot, q.Revision = key.Question,
				revision
		},
	}
	answerCodec = codec[Answer]{
		kind: KindQuestion, check: validAnswer, fill: func(a *Answer, key Key, _ int64) { a.Slot, a.Node = key.Question, key.Node },
	}
)

// readBlock reads a block; without a record it is nobody's, and its Revision is 0. One of another size than the pool's
// blocks is damaged.
func (k Keys) readBlock(pool string, block netip.Prefix, kvs []*mvccpb.KeyValue) (Block, error) {
	if len(kvs) == 0 {
		return Block{Pool: pool, Prefix: block}, nil
	}
	b, err := blockCodec.read(k, kvs[0])
	if err == nil && b.Prefix != block {
		err = &DamagedError{
			Key: string(kvs[0].Key), At: Key{Kind: KindBlock, Pool: pool, Address: block.Addr()}, Revision: kvs[0].ModRevision,
			Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, block, pool),
		}
		return Block{}, err
	}
	return b, err
}

// WithoutKey is the record as it is written.
func (n Node) WithoutKey() any {
	n.Revision = 0
	return n
}

// WithoutKey is the record as it is written.
func (p Presence) WithoutKey() any {
	p.Node, p.Revision = "", 0
	return p
}

// WithoutKey is the record as it is written.
func (s Status) WithoutKey() any {
	s.Node = ""
	return s
}

// WithoutKey is the record as it is written.
func (b Block) WithoutKey() any {
	b.Pool, b.Revision = "", 0
	return b
}

// WithoutKey is the record as it is written.
func (a Assignment) WithoutKey() any {
	a.Pool, a.Address = "", netip.Addr{}
	return a
}

// WithoutKey is the record as it is written.
func (r Reservation) WithoutKey() any {
	r.Pool, r.Address, r.Revision = "", netip.Addr{}, 0
	return r
}

// WithoutKey is the record as it is written.
func (d Demand) WithoutKey() any {
	d.Pool, d.Node, d.Revision = "", "", 0
	return d
}

// WithoutKey is the record as it is written.
func (h HistoryEntry) WithoutKey() any {
	h.Revision = 0
	return h
}
