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

// Demand says to all nodes that this one waits for addresses of a pool. It stays until it is met or withdrawn, or the
// session ends, and replaces the one before it. It fails with an error that ends the session.
func (x *Session) Demand(ctx context.Context, d Demand) (Demand, error) {
	d.Node, d.Since = x.node.Name, time.Now().UTC()
	response, err := x.store.settle(ctx, "demand", transaction{
		If:   x.Owner(),
		Then: []clientv3.Op{put(x.store.keys.demand(d.Pool, d.Node), d, clientv3.WithLease(x.lease))},
		Else: x.ownerGets(),
	})
	if err == nil && !response.Succeeded {
		err = x.verdict(response)
	}
	if err != nil {
		return d, fmt.Errorf("lease: demand addresses of pool %q for node %q: %w", d.Pool, d.Node, err)
	}
	d.Revision = response.Header.Revision
	return d, nil
}

// Withdraw ends the node's demand of a pool. Where there is none it succeeds.
func (x *Session) Withdraw(ctx context.Context, pool string) error {
	response, err := x.store.settle(ctx, "withdraw", transaction{
		If:   x.Owner(),
		Then: []clientv3.Op{clientv3.OpDelete(x.store.keys.demand(pool, x.node.Name))},
		Else: x.ownerGets(),
	})
	if err == nil && !response.Succeeded {
		err = x.verdict(response)
	}
	if err != nil {
		return fmt.Errorf("lease: withdraw the demand of pool %q for node %q: %w", pool, x.node.Name, err)
	}
	return nil
}

// FollowDemands is FollowBlocks for demands.
func (s *Store) FollowDemands(ctx context.Context, f func(Update[Demand])) error {
	return follow(ctx, s, demandForm, f)
}

// Demands are those that are not met yet.
func (s *Store) Demands(ctx context.Context) ([]Demand, error) {
	return readable(ctx, s, demandForm)
}

// Give makes a part of a block, all of which is this node's, that of the node which demands addresses, and ends the
// demand. An address that the demand names as one of the node itself becomes that. Nothing of the part is held: whatever is
// published of its addresses is removed. The block and the demand are
// to be as the caller knows them, and the receiver is to have a session: what is given to the dead is lost for long. A
// part has at most allocator.LargestHalf addresses.
//
// With ErrDemandMet, ErrManyParts, ErrRecovering, a *LostBlockError, or an error that ends the session (SessionOver),
// nothing was given, and will not be; the Block is what etcd has where that is known. Any other error leaves it in doubt until SettleBlock.
func (x *Session) Give(ctx context.Context, b Block, part netip.Prefix, d Demand) (Block, error) {
	after, err := x.give(ctx, b, part, d)
	if err != nil {
		return after, fmt.Errorf("lease: give %s of pool %q from node %q to node %q: %w", part, b.Pool, x.node.Name, d.Node, err)
	}
	return after, nil
}

func (x *Session) give(ctx context.Context, b Block, part netip.Prefix, d Demand) (Block, error) {
	if err := x.given(); err != nil {
		return b, err
	}
	after, machine := b.moved(part, x.node.Name, d.Node), part.IsSingleIP() && slices.Contains(d.Machine, part.Addr())
	if machine {
		after = b.with(Part{Prefix: part, Owner: OwnerMachine, Node: d.Node})
	}
	switch {
	case !b.owned(part, x.node.Name) || d.Node == x.node.Name || d.Pool != b.Pool:
		return b, &LostBlockError{Block: b}
	case len(after.Parts) > maxParts || part.Addr().BitLen()-part.Bits() > largestGift:
		return b, fmt.Errorf("%w: want at most %d, and at most %d addresses given at once", ErrManyParts, maxParts, allocator.LargestHalf)
	}
	response, err := x.store.settle(ctx, "give", x.gift(b, after, part, d))
	if err != nil {
		return b, err
	}
	if response.Succeeded {
		after.Revision = response.Header.Revision
		return after, nil
	}
	first := ownerReads
	now, err := x.store.keys.readBlock(b.Pool, b.Prefix, found(response, first))
	switch {
	case err != nil:
		return b, err
	case now.Revision != b.Revision && (now.owned(part, d.Node) || machine && now.owned(part, OwnerMachine)):
		return now, nil // a try before, whose answer was lost
	}
	if err := x.verdict(response); err != nil {
		return now, err
	}
	if now.Revision != b.Revision {
		return now, &LostBlockError{Block: now}
	}
	return now, ErrDemandMet
}

// largestGift is what allocator.LargestHalf is in bits: the assignments of a gift fit into its transaction.
const largestGift = 6

// gift is the transaction by which a block becomes after.
func (x *Session) gift(b, after Block, part netip.Prefix, d Demand) transaction {
	keys := x.store.keys
	block, demand, session := keys.block(b.Pool, b.Prefix), keys.demand(d.Pool, d.Node), keys.session(d.Node)
	t := transaction{
		If:   append(x.Owner(), unchanged(block, b.Revision), unchanged(demand, d.Revision), present(session)),
		Then: []clientv3.Op{put(block, after), clientv3.OpDelete(demand)},
		Else: append(x.ownerGets(), clientv3.OpGet(block)),
	}
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		t.Then = append(t.Then, clientv3.OpDelete(keys.assignment(b.Pool, a)))
	}
	return t
}

func present(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
}
