package lease

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// PostDemand says to all nodes that this one waits for addresses of a pool. It stays until it is met or withdrawn, or the
// session ends, and replaces the one before it. It fails with an error that ends the session.
func PostDemand(ctx context.Context, x *Session, d Demand) (Demand, error) {
	d.Node, d.Since = x.Name(), time.Now().UTC()
	t := x.fenced("demand")
	t.Then(put(x.KV().keys.demand(d.Pool, d.Node), d, clientv3.WithLease(x.Lease())))
	if err := x.KV().settled(ctx, t); err != nil {
		return d, fmt.Errorf("lease: demand addresses of pool %q for node %q: %w", d.Pool, d.Node, err)
	}
	d.Revision = t.revision()
	return d, nil
}

// WithdrawDemand ends the node's demand of a pool. Where there is none it succeeds.
func WithdrawDemand(ctx context.Context, x *Session, pool string) error {
	t := x.fenced("withdraw")
	t.Then(clientv3.OpDelete(x.KV().keys.demand(pool, x.Name())))
	if err := x.KV().settled(ctx, t); err != nil {
		return fmt.Errorf("lease: withdraw the demand of pool %q for node %q: %w", pool, x.Name(), err)
	}
	return nil
}

// FollowDemands is FollowBlocks for demands.
func (s *blockStore) FollowDemands(ctx context.Context, f func(Update[Demand])) error {
	return follow(ctx, s.kv, demandCodec, f)
}

// Demands are those that are not met yet.
func (s *blockStore) Demands(ctx context.Context) ([]Demand, error) {
	return readable(ctx, s.kv, demandCodec)
}

// GivePart makes a part of a block, all of which is this node's, that of the node which demands addresses, and ends the
// demand. An address that the demand names as one of the node itself becomes that. Nothing of the part is held: whatever is published
// of its addresses is removed. The block and the demand are
// to be as the caller knows them, and the receiver is to have a session: what is given to the dead is lost for long. A
// part has at most allocator.LargestHalf addresses.
//
// With ErrDemandMet, ErrManyParts, ErrRecovering, a *LostBlockError, or an error that ends the session (SessionOver),
// nothing was given, and will not be; the Block is what etcd has where that is known. Any other error leaves it in doubt until SettleBlock.
func GivePart(ctx context.Context, x *Session, b Block, part netip.Prefix, d Demand) (Block, error) {
	after, err := givePart(ctx, x, b, part, d)
	if err != nil {
		return after, fmt.Errorf("lease: give %s of pool %q from node %q to node %q: %w", part, b.Pool, x.Name(), d.Node, err)
	}
	return after, nil
}

func givePart(ctx context.Context, x *Session, b Block, part netip.Prefix, d Demand) (Block, error) {
	if err := x.given(); err != nil {
		return b, err
	}
	after, machine := b.moved(part, x.Name(), d.Node), part.IsSingleIP() && slices.Contains(d.Machine, part.Addr())
	if machine {
		after = b.with(Part{Prefix: part, Owner: OwnerMachine, Node: d.Node})
	}
	switch {
	case !b.owned(part, x.Name()) || d.Node == x.Name() || d.Pool != b.Pool:
		return b, &LostBlockError{Block: b}
	case len(after.Parts) > maxParts || part.Addr().BitLen()-part.Bits() > largestGift:
		return b, fmt.Errorf("%w: want at most %d, and at most %d addresses given at once", ErrManyParts, maxParts, allocator.LargestHalf)
	}
	t, present := gift(x, b, after, part, d)
	if err := x.KV().settle(ctx, t); err != nil {
		return b, err
	}
	if t.Done {
		after.Revision = t.revision()
		return after, nil
	}
	now, err := x.KV().keys.readBlock(b.Pool, b.Prefix, present.kvs)
	switch {
	case err != nil:
		return b, err
	case now.Revision != b.Revision && (now.owned(part, d.Node) || machine && now.owned(part, OwnerMachine)):
		return now, nil // a try before, whose answer was lost
	}
	if err := t.Verdict(); err != nil {
		return now, err
	}
	if now.Revision != b.Revision {
		return now, &LostBlockError{Block: now}
	}
	return now, ErrDemandMet
}

// largestGift is what allocator.LargestHalf is in bits: the assignments of a gift fit into its transaction.
const largestGift = 6

// gift is the transaction by which a block becomes after, and what it reads of the block where it does not.
func gift(x *Session, b, after Block, part netip.Prefix, d Demand) (t *txn, now *read) {
	keys := x.KV().keys
	block, demand, session := keys.block(b.Pool, b.Prefix), keys.demand(d.Pool, d.Node), keys.session(d.Node)
	t = x.fenced("give")
	t.If(unchanged(block, b.Revision), unchanged(demand, d.Revision), present(session))
	t.Then(put(block, after), clientv3.OpDelete(demand))
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		t.Then(clientv3.OpDelete(keys.assignment(b.Pool, a)))
	}
	return t, t.Else(block)
}
