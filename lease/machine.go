package lease

import (
	"context"
	"fmt"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// ClaimMachine makes an address the node's own, as one that the machine has on an interface: nobody is given it then. It
// succeeds where nobody owns the address, where it is kept for reservations and not reserved, where another node had it as its
// own, since an address can move between machines, and with own where it is the node's to hand out and out of its allocator.
// It fails with *TakenError where it is reserved, with ErrTaken where a node may hand it out, and then Block is what the owners
// have, with ErrStaleConfig, ErrRecovering, or an error that ends the session.
func (x *Session) ClaimMachine(ctx context.Context, pool allocator.Pool, poolRevision int64, a netip.Addr, own bool) (Block, error) {
	b, err := x.claimMachine(ctx, pool, poolRevision, a, own)
	if err != nil {
		return b, fmt.Errorf("lease: claim address %s of node %q itself in pool %q: %w", a, x.node.Name, pool.Name, err)
	}
	return b, nil
}

func (x *Session) claimMachine(ctx context.Context, pool allocator.Pool, poolRevision int64, a netip.Addr, own bool) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	return x.rewriteBlock(ctx, "claim machine", pool, poolRevision, a, func(b Block, reservation *Reservation) (Block, error) {
		part, owned := b.partOf(a)
		switch {
		case reservation != nil:
			return b, &TakenError{
				Pool: pool.Name, What: "node " + x.node.Name + "'s own", Address: a, Holder: holderOf(*reservation),
				Advice: "release the reservation (berthctl release), or give the node another address",
			}
		case !owned && pool.InStateful(a):
			b = b.covered(OwnerStateful)
		case owned && part.Owner != OwnerStateful && part.Owner != OwnerMachine && (part.Owner != x.node.Name || !own):
			return b, ErrTaken
		}
		return b.with(Part{Prefix: netip.PrefixFrom(a, a.BitLen()), Owner: OwnerMachine, Node: x.node.Name}), nil
	})
}

// ReleaseMachine gives up an address that the machine does not have any more. Where another node has it by now it succeeds.
func (x *Session) ReleaseMachine(ctx context.Context, pool allocator.Pool, poolRevision int64, a netip.Addr) (Block, error) {
	b, err := x.rewriteBlock(ctx, "release machine", pool, poolRevision, a, func(b Block, _ *Reservation) (Block, error) {
		if part, _ := b.partOf(a); part.Owner != OwnerMachine || part.Node != x.node.Name {
			return b, nil
		}
		return b.withoutMachine(x.node.Name, netip.PrefixFrom(a, a.BitLen())), nil
	})
	if err != nil {
		return b, fmt.Errorf("lease: release address %s of node %q itself in pool %q: %w", a, x.node.Name, pool.Name, err)
	}
	return b, nil
}

// rewriteBlock changes the block of an address, by what the block and the address's reservation are, until nothing comes
// between. It compares the pool's revision.
func (x *Session) rewriteBlock(ctx context.Context, what string, pool allocator.Pool, poolRevision int64, a netip.Addr,
	change func(Block, *Reservation) (Block, error)) (Block, error) {
	keys, prefix := x.store.keys, pool.BlockOf(a)
	key, reserved := keys.block(pool.Name, prefix), keys.reservation(pool.Name, a)
	if poolRevision <= 0 || !prefix.IsValid() {
		return Block{}, ErrStaleConfig
	}
	for range blockTries {
		response, err := x.store.consult(ctx, callTime, "read block", clientv3.OpGet(key), clientv3.OpGet(reserved))
		if err != nil {
			return Block{}, err
		}
		now, err := x.store.keys.readBlock(pool.Name, prefix, found(response, 0))
		if err != nil {
			return Block{}, err
		}
		var reservation *Reservation
		if kvs := found(response, 1); len(kvs) > 0 {
			r, err := reservationForm.read(keys, kvs[0])
			if err != nil {
				return Block{}, err
			}
			reservation = &r
		}
		next, err := change(now, reservation)
		if err != nil || now.Revision > 0 && encode(next) == encode(now) || len(now.Parts)+len(next.Parts) == 0 {
			return now, err
		}
		op := put(key, next)
		if len(next.Parts) == 0 {
			op = clientv3.OpDelete(key)
		}
		t := transaction{
			If:   append(x.Owner(), unchanged(keys.pool(pool.Name), poolRevision), unchanged(key, now.Revision)),
			Then: []clientv3.Op{op},
			Else: append(x.ownerGets(), clientv3.OpGet(keys.pool(pool.Name), clientv3.WithKeysOnly())),
		}
		if reservation == nil {
			t.If = append(t.If, absent(reserved))
		}
		if now.OwnerOf(a) == x.node.Name { // what is published of it is out of date, and nobody would say so any more
			t.Then = append(t.Then, clientv3.OpDelete(keys.assignment(pool.Name, a)))
		}
		response, err = x.store.settle(ctx, what, t)
		switch {
		case err != nil:
			return Block{}, err
		case response.Succeeded:
			next.Revision = response.Header.Revision
			return next, nil
		}
		if err := x.verdict(response); err != nil {
			return Block{}, err
		}
		if revisionOf(found(response, ownerReads)) != poolRevision {
			return Block{}, ErrStaleConfig
		}
	}
	return Block{}, fmt.Errorf("others keep coming between: try again")
}

// with is b with a part in place of whatever its addresses were.
func (b Block) with(part Part) Block {
	parts := []Part{part}
	for _, p := range b.Parts {
		for _, left := range allocator.Subtract(p.Prefix, []netip.Prefix{part.Prefix}) {
			q := p
			q.Prefix = left
			parts = append(parts, q)
		}
	}
	b.Parts = canonical(b.Prefix, parts)
	return b
}

// withoutMachine is b without what a node has of a prefix for addresses of its own: in a block that is kept for reservations it
// is kept for them again, elsewhere it is nobody's.
func (b Block) withoutMachine(node string, prefix netip.Prefix) Block {
	var parts []Part
	for _, p := range b.Parts {
		switch {
		case p.Owner != OwnerMachine || p.Node != node || !prefix.Overlaps(p.Prefix):
			parts = append(parts, p)
		case b.owns(OwnerStateful):
			parts = append(parts, Part{Prefix: p.Prefix, Owner: OwnerStateful})
		}
	}
	b.Parts = canonical(b.Prefix, parts)
	return b
}

// Machines are the parts that are addresses of nodes themselves.
func (b *Block) Machines() []Part { return b.Of(OwnerMachine) }
