package admin

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A belonging is one key that names the node, as it was read, and what is to become of it.
type belonging struct {
	key      string
	revision int64
	op       clientv3.Op
	counts   Removal
}

// belongings are all that a node has.
type belongings struct {
	blocks, assignments, reservations, others []belonging
	mayOwn, mayHold                           bool // a part of a block, a reservation; also where a record of one cannot be read
}

func (b *belongings) empty() bool {
	return len(b.blocks)+len(b.assignments)+len(b.reservations)+len(b.others) == 0
}

func (b *belongings) all() []belonging {
	return slices.Concat(b.blocks, b.assignments, b.reservations, b.others)
}

// heldBy reads what a node has. Of a record that cannot be read nothing is taken; that it may be the node's is noted.
func (s *Store) heldBy(ctx context.Context, name string) (b belongings, err error) {
	now, owns := s.kv.Clock.Wall(), false
	blocks, blocksErr := kv.Each(ctx, s.kv, record.BlockCodec, func(pair *mvccpb.KeyValue, block record.Block) {
		parts := len(block.Of(name))
		owns = owns || parts > 0
		parts += len(slices.DeleteFunc(block.Machines(), func(p record.Part) bool { return p.Node != name }))
		block = block.Without(name).WithoutMachine(name, block.Prefix)
		op := kv.Put(string(pair.Key), block)
		if len(block.Parts) == 0 {
			op = clientv3.OpDelete(string(pair.Key))
		}
		if parts > 0 {
			b.blocks = append(b.blocks, belonging{string(pair.Key), pair.ModRevision, op, Removal{Parts: parts}})
		}
	})
	_, assignmentsErr := kv.Each(ctx, s.kv, record.AssignmentCodec, func(kv *mvccpb.KeyValue, a record.Assignment) {
		if a.Node == name {
			b.assignments = append(b.assignments,
				belonging{string(kv.Key), kv.ModRevision, clientv3.OpDelete(string(kv.Key)), Removal{Assignments: 1}})
		}
	})
	reservations, reservationsErr := kv.Each(ctx, s.kv, record.ReservationCodec, func(pair *mvccpb.KeyValue, r record.Reservation) {
		if r.Holder != nil && r.Holder.Node == name {
			r.Holder, r.LastDel = nil, &now
			b.reservations = append(b.reservations, belonging{string(pair.Key), pair.ModRevision, kv.Put(string(pair.Key), r),
				Removal{Reservations: 1}})
		}
	})
	if err := errors.Join(blocksErr, assignmentsErr, reservationsErr); err != nil {
		return b, err
	}
	b.mayOwn, b.mayHold = owns || blocks > 0, len(b.reservations)+reservations > 0
	status, err := s.kv.Get(ctx, s.kv.Keys.Status(name))
	if err == nil && len(status.Kvs) > 0 {
		b.others = append(b.others, belonging{key: s.kv.Keys.Status(name), revision: status.Kvs[0].ModRevision,
			op: clientv3.OpDelete(s.kv.Keys.Status(name))})
	}
	return b, err
}
