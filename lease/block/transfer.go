package block

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// Demand says to all nodes that this one waits for addresses of a pool. It stays until it is met or withdrawn, or the
// session ends, and replaces the one before it. It fails with an error that ends the session.
func Demand(ctx context.Context, x *session.Session, d record.Demand) (record.Demand, error) {
	d.Node, d.Since = x.Name(), time.Now().UTC()
	t := x.Fenced("demand")
	t.Then(kv.Put(x.KV().Keys.Demand(d.Pool, d.Node), d, clientv3.WithLease(x.Lease())))
	if err := x.KV().Settled(ctx, t); err != nil {
		return d, fmt.Errorf("lease: demand addresses of pool %q for node %q: %w", d.Pool, d.Node, err)
	}
	d.Revision = t.Revision()
	return d, nil
}

// Withdraw ends the node's demand of a pool. Where there is none it succeeds.
func Withdraw(ctx context.Context, x *session.Session, pool string) error {
	t := x.Fenced("withdraw")
	t.Then(clientv3.OpDelete(x.KV().Keys.Demand(pool, x.Name())))
	if err := x.KV().Settled(ctx, t); err != nil {
		return fmt.Errorf("lease: withdraw the demand of pool %q for node %q: %w", pool, x.Name(), err)
	}
	return nil
}

// FollowDemands is FollowBlocks for demands.
func (s *Store) FollowDemands(ctx context.Context, f func(kv.Update[record.Demand])) error {
	return kv.Follow(ctx, s.kv, record.DemandCodec, f)
}

// Demands are those that are not met yet.
func (s *Store) Demands(ctx context.Context) ([]record.Demand, error) {
	return kv.Readable(ctx, s.kv, record.DemandCodec)
}

// Transfer makes a part of a block, all of which is this node's, that of the node which demands addresses, and ends the
// demand. An address that the demand names as one of the node itself becomes that. Nothing of the part is held: whatever is published
// of its addresses is removed. The block and the demand are
// to be as the caller knows them, and the receiver is to have a session: what is given to the dead is lost for long. A
// part has at most allocator.LargestHalf addresses.
//
// With ErrDemandMet, ErrManyParts, ErrRecovering, a *LostBlockError, or an error that ends the session (SessionOver),
// nothing was given, and will not be; the Block is what etcd has where that is known. Any other error leaves it in doubt until SettleBlock.
func Transfer(ctx context.Context, x *session.Session, b record.Block, part netip.Prefix, d record.Demand) (record.Block, error) {
	after, err := transfer(ctx, x, b, part, d)
	if err != nil {
		return after, fmt.Errorf("lease: give %s of pool %q from node %q to node %q: %w", part, b.Pool, x.Name(), d.Node, err)
	}
	return after, nil
}

func transfer(ctx context.Context, x *session.Session, b record.Block, part netip.Prefix, d record.Demand) (record.Block, error) {
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
	case len(after.Parts) > record.MaxParts || part.Addr().BitLen()-part.Bits() > largestGift:
		return b, fmt.Errorf("%w: want at most %d, and at most %d addresses given at once", ErrManyParts, record.MaxParts, allocator.LargestHalf)
	}
	t, present := transferral(x, b, after, part, d)
	if err := x.KV().Settle(ctx, t); err != nil {
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
	case now.Revision != b.Revision && (now.Owned(part, d.Node) || machine && now.Owned(part, record.OwnerMachine)):
		return now, nil // a try before, whose answer was lost
	}
	if err := t.Verdict(); err != nil {
		return now, err
	}
	if now.Revision != b.Revision {
		return now, &LostError{Block: now}
	}
	return now, ErrDemandMet
}

// largestGift is what allocator.LargestHalf is in bits: the assignments of a gift fit into its transaction.
const largestGift = 6

// transferral is the transaction by which a block becomes after, and what it reads of the block where it does not.
func transferral(x *session.Session, b, after record.Block, part netip.Prefix, d record.Demand) (t *kv.Txn, now *kv.Read) {
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
