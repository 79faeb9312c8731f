package block

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Demand tells all nodes that this one waits for addresses of a pool. It stays until it is met or withdrawn, or the session ends,
// and replaces the node's former demand of the pool. It fails with an error that ends the session.
func Demand(ctx context.Context, x *session.Session, d record.Demand) (record.Demand, error) {
	d.Node, d.Since = x.Name(), x.KV().Clock.Wall()
	t := x.Fenced("demand")
	t.Then(kv.Put(x.KV().Keys.Demand(d.Pool, d.Node), d, clientv3.WithLease(x.Lease())))
	if err := x.KV().Require(ctx, t); err != nil {
		return d, fmt.Errorf("lease: demand addresses of pool %q for node %q: %w", d.Pool, d.Node, err)
	}
	d.Revision = t.Revision()
	return d, nil
}

// Withdraw ends the node's demand of a pool. Where there is none it succeeds.
func Withdraw(ctx context.Context, x *session.Session, pool string) error {
	t := x.Fenced("withdraw")
	t.Then(clientv3.OpDelete(x.KV().Keys.Demand(pool, x.Name())))
	if err := x.KV().Require(ctx, t); err != nil {
		return fmt.Errorf("lease: withdraw the demand of pool %q for node %q: %w", pool, x.Name(), err)
	}
	return nil
}

// FollowDemands is Follow for demands.
func (s *Store) FollowDemands(ctx context.Context, f func(kv.Update[record.Demand])) error {
	return kv.Follow(ctx, s.kv, record.DemandCodec, f)
}

// Demands are those that are not met yet.
func (s *Store) Demands(ctx context.Context) ([]record.Demand, error) {
	return kv.Readable(ctx, s.kv, record.DemandCodec)
}

// Transfer makes another node, which demands addresses, the owner of a part of a block, and ends its demand. This node, the donor,
// owns all of the part, and nothing of it is held: what is published of its addresses is removed. An address that the demand
// names as one of the node itself becomes that. The block and the demand have to be as the caller knows them, and the receiver
// has to have a session: what a dead node owns is lost until it is taken over. A part has at most allocator.LargestHalf
// addresses.
//
// With ErrDemandMet, ErrManyParts, ErrRecovering, a *LostError, or an error that ends the session nothing was transferred, and
// nothing will be; the block that is returned is what etcd has, where that is known. After any other error the outcome is
// unknown until Resolve.
func Transfer(ctx context.Context, x *session.Session, b record.Block, part netip.Prefix, d record.Demand) (_ record.Block, err error) {
	defer named(&err, "transfer %s of pool %q from node %q to node %q", part, b.Pool, x.Name(), d.Node)
	if err := x.Entitled(); err != nil {
		return b, err
	}
	after, machine := b.Moved(part, x.Name(), d.Node), part.IsSingleIP() && slices.Contains(d.Machine, part.Addr())
	if machine {
		after = b.With(record.Part{Prefix: part, Owner: record.OwnerMachine, Node: d.Node})
	}
	switch {
	case !b.Owned(part, x.Name()) || d.Node == x.Name() || d.Pool != b.Pool:
		return b, &LostError{Block: b}
	case len(after.Parts) > record.MaxParts || part.Addr().BitLen()-part.Bits() > maxTransferBits:
		return b, fmt.Errorf("%w: want at most %d, and at most %d addresses transferred at once",
			ErrManyParts, record.MaxParts, allocator.LargestHalf)
	}
	t, present := transferTxn(x, b, after, part, d)
	if err := x.KV().Execute(ctx, t); err != nil {
		return b, err
	}
	if t.Done {
		after.Revision = t.Revision()
		return after, nil
	}
	now, err := record.ReadBlock(x.KV().Keys, b.Pool, b.Prefix, present.KVs)
	switch {
	case err != nil:
		return b, err
	case now.Owned(part, d.Node) || machine && now.Owned(part, record.OwnerMachine):
		return now, nil // an earlier try, whose answer was lost
	}
	if err := t.Verdict(); err != nil {
		return now, err
	}
	if now.Revision != b.Revision {
		return now, &LostError{Block: now}
	}
	return now, ErrDemandMet
}

// maxTransferBits is what allocator.LargestHalf is in bits: the assignments of a transferred part fit into its transaction.
const maxTransferBits = 6

// transferTxn is the transaction by which a block becomes after, and what it reads of the block where it does not.
func transferTxn(x *session.Session, b, after record.Block, part netip.Prefix, d record.Demand) (t *kv.Txn, now *kv.Read) {
	keys := x.KV().Keys
	block, demand, session := keys.Block(b.Pool, b.Prefix), keys.Demand(d.Pool, d.Node), keys.Session(d.Node)
	t = x.Fenced("give")
	t.If(kv.Unchanged(block, b.Revision), kv.Unchanged(demand, d.Revision), kv.Present(session))
	t.Then(kv.Put(block, after), clientv3.OpDelete(demand))
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		t.Then(clientv3.OpDelete(keys.Assignment(b.Pool, a)))
	}
	return t, t.Else(block)
}
