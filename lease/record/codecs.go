package record

import (
	"fmt"
	"net/netip"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// The codecs of the kinds of records.
var (
	ClusterCodec  = kv.Codec[Cluster]{Kind: kv.KindCluster, Check: validCluster, Needs: []string{"id"}}
	RevisionCodec = kv.Codec[Changes]{Kind: kv.KindRevision, Check: validCount}
	SettingsCodec = kv.Codec[Settings]{
		Kind: kv.KindSettings, Check: validSettings, Fresh: DefaultSettings, Needs: []string{"operations", "fencing", "session", "addressLease"},
	}
	SessionCodec = kv.Codec[Presence]{Kind: kv.KindSession, Keyed: true, Fill: func(p *Presence, key kv.Key, revision int64) {
		p.Node, p.Revision = key.Node, revision
	}}
	NodeCodec = kv.Codec[Node]{Kind: kv.KindNode, Check: validRecordOfNode, Fill: func(n *Node, key kv.Key, revision int64) {
		n.Name, n.Revision = key.Node, revision
	}}
	StatusCodec = kv.Codec[Status]{Kind: kv.KindStatus, Check: validStatus, Fill: func(s *Status, key kv.Key, _ int64) { s.Node = key.Node }}
	PoolCodec   = kv.Codec[allocator.Pool]{
		Kind: kv.KindPool, Check: validPool, Fill: func(p *allocator.Pool, key kv.Key, _ int64) { p.Name = key.Pool },
	}
	BlockCodec = kv.Codec[Block]{
		Kind: kv.KindBlock, Check: validBlock, Needs: []string{"prefix", "parts"},
		Fill: func(b *Block, key kv.Key, revision int64) { b.Pool, b.Revision = key.Pool, revision },
	}
	AssignmentCodec = kv.Codec[Assignment]{Kind: kv.KindAssignment, Check: validAssignment, Fill: func(a *Assignment, key kv.Key, _ int64) {
		a.Pool, a.Address = key.Pool, key.Address
	}}
	ReservationCodec = kv.Codec[Reservation]{
		Kind: kv.KindReservation, Check: validReservation, Fill: func(r *Reservation, key kv.Key, revision int64) {
			r.Pool, r.Address, r.Revision = key.Pool, key.Address, revision
		},
	}
	DemandCodec = kv.Codec[Demand]{Kind: kv.KindDemand, Check: validDemand, Fill: func(d *Demand, key kv.Key, revision int64) {
		d.Pool, d.Node, d.Revision = key.Pool, key.Node, revision
	}}
	IdentityCodec = kv.Codec[IdentityRecord]{Kind: kv.KindIdentity, Check: validIdentityRecord}
	HistoryCodec  = kv.Codec[HistoryEntry]{Kind: kv.KindHistory, Check: validHistory, Fill: func(h *HistoryEntry, key kv.Key, revision int64) {
		h.Number = key.Number
		if h.Revision <= 0 || h.Revision > revision { // one that was put back says which its change made
			h.Revision = revision
		}
	}}
	QuestionCodec = kv.Codec[ReportRequest]{
		Kind: kv.KindQuestion, Check: validQuestion, Fill: func(q *ReportRequest, key kv.Key, revision int64) {
			q.Slot, q.Revision = key.Question, revision
		},
	}
	AnswerCodec = kv.Codec[NodeReport]{
		Kind: kv.KindQuestion, Check: validAnswer, Fill: func(a *NodeReport, key kv.Key, _ int64) { a.Slot, a.Node = key.Question, key.Node },
	}
	CheckCodec       = kv.Codec[Check]{Kind: kv.KindCheck, Check: validCheck, Needs: []string{"id"}}
	CheckAnswerCodec = kv.Codec[CheckAnswer]{Kind: kv.KindCheck, Check: validCheckAnswer, Fill: func(a *CheckAnswer, key kv.Key, _ int64) {
		a.Node = key.Node
	}}
)

// ReadBlock reads a block; without a record it is nobody's, and its Revision is 0. One of another size than the pool's
// blocks is damaged.
func ReadBlock(k kv.Keys, pool string, block netip.Prefix, kvs []*mvccpb.KeyValue) (Block, error) {
	if len(kvs) == 0 {
		return Block{Pool: pool, Prefix: block}, nil
	}
	b, err := BlockCodec.Read(k, kvs[0])
	if err == nil && b.Prefix != block {
		err = &kv.DamagedError{
			Key: string(kvs[0].Key), At: kv.Key{Kind: kv.KindBlock, Pool: pool, Address: block.Addr()}, Revision: kvs[0].ModRevision,
			Err: fmt.Errorf("prefix %s: want %s, as the blocks of pool %q are", b.Prefix, block, pool),
		}
		return Block{}, err
	}
	return b, err
}

func (n Node) WithoutKey() any {
	n.Revision = 0
	return n
}

func (p Presence) WithoutKey() any {
	p.Node, p.Revision = "", 0
	return p
}

func (s Status) WithoutKey() any {
	s.Node = ""
	return s
}

func (b Block) WithoutKey() any {
	b.Pool, b.Revision = "", 0
	return b
}

func (a Assignment) WithoutKey() any {
	a.Pool, a.Address = "", netip.Addr{}
	return a
}

func (r Reservation) WithoutKey() any {
	r.Pool, r.Address, r.Revision = "", netip.Addr{}, 0
	return r
}

func (d Demand) WithoutKey() any {
	d.Pool, d.Node, d.Revision = "", "", 0
	return d
}

func (h HistoryEntry) WithoutKey() any {
	h.Revision = 0
	return h
}
