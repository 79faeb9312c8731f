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
func ClaimMachine(ctx context.Context, x *Session, pool allocator.Pool, poolRevision int64, a netip.Addr, own bool) (Block, error) {
	b, err := claimMachine(ctx, x, pool, poolRevision, a, own)
	if err != nil {
		return b, fmt.Errorf("lease: claim address %s of node %q itself in pool %q: %w", a, x.Name(), pool.Name, err)
	}
	return b, nil
}

func claimMachine(ctx context.Context, x *Session, pool allocator.Pool, poolRevision int64, a netip.Addr, own bool) (Block, error) {
	if err := x.given(); err != nil {
		return Block{}, err
	}
	return rewriteBlock(ctx, x, "claim machine", pool, poolRevision, a, func(b Block, reservation *Reservation) (Block, error) {
		part, owned := b.partOf(a)
		switch {
		case reservation != nil:
			return b, &TakenError{
				Pool: pool.Name, What: "node " + x.Name() + "'s own", Address: a, Holder: holderOf(*reservation),
				Advice: "release the reservation (berthctl release), or give the node another address",
			}
		case !owned && pool.InStateful(a):
			b = b.covered(OwnerStateful)
		case owned && part.Owner != OwnerStateful && part.Owner != OwnerMachine && (part.Owner != x.Name() || !own):
			return b, ErrTaken
		}
		return b.with(Part{Prefix: netip.PrefixFrom(a, a.BitLen()), Owner: OwnerMachine, Node: x.Name()}), nil
	})
}

// ReleaseMachine gives up an address that the machine does not have any more. Where another node has it by now it succeeds.
func ReleaseMachine(ctx context.Context, x *Session, pool allocator.Pool, poolRevision int64, a netip.Addr) (Block, error) {
	b, err := rewriteBlock(ctx, x, "release machine", pool, poolRevision, a, func(b Block, _ *Reservation) (Block, error) {
		if part, _ := b.partOf(a); part.Owner != OwnerMachine || part.Node != x.Name() {
			return b, nil
		}
		return b.withoutMachine(x.Name(), netip.PrefixFrom(a, a.BitLen())), nil
	})
	if err != nil {
		return b, fmt.Errorf("lease: release address %s of node %q itself in pool %q: %w", a, x.Name(), pool.Name, err)
	}
	return b, nil
}

// rewriteBlock changes the block of an address, by what the block and the address's reservation are, until nothing comes
// between. It compares the pool's revision.
func rewriteBlock(ctx context.Context, x *Session, what string, pool allocator.Pool, poolRevision int64, a netip.Addr, change func(Block,
	*Reservation) (Block, error)) (Block, error) {
	keys, prefix := x.KV().keys, pool.BlockOf(a)
	key, reserved := keys.block(pool.Name, prefix), keys.reservation(pool.Name, a)
	if poolRevision <= 0 || !prefix.IsValid() {
		return Block{}, ErrStaleConfig
	}
	for range blockTries {
		seen := transact("read block")
		block, held := seen.Else(key), seen.Else(reserved)
		if err := x.KV().consult(ctx, callTime, seen); err != nil {
			return Block{}, err
		}
		now, err := x.KV().keys.readBlock(pool.Name, prefix, block.kvs)
		if err != nil {
			return Block{}, err
		}
		var reservation *Reservation
		if held.there() {
			r, err := reservationCodec.read(keys, held.kvs[0])
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
		t := x.fenced(what)
		t.IfUnchanged(keys.pool(pool.Name), poolRevision, ErrStaleConfig)
		t.If(unchanged(key, now.Revision))
		t.Then(op)
		if reservation == nil {
			t.If(absent(reserved))
		}
		if now.OwnerOf(a) == x.Name() { // what is published of it is out of date, and nobody would say so any more
			t.Then(clientv3.OpDelete(keys.assignment(pool.Name, a)))
		}
		if err := x.KV().settled(ctx, t); err != nil {
			return Block{}, err
		}
		if t.Done {
			next.Revision = t.revision()
			return next, nil
		}
	}
	return Block{}, fmt.Errorf("others keep coming between: try again")
}
