package block

import (
	"context"
	"fmt"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// ClaimMachine makes an address the node's own, as one that the machine has on an interface: no container is given it then. It
// succeeds where nobody owns the address; where it is kept for reservations and not reserved; where another node had it as its
// own, since an address can move between machines; and, with own, where it is the node's to allocate and out of its allocator.
// It fails with *TakenError where it is reserved; with ErrTaken where a node may hand it out, and then returns what the owners
// have; with ErrStaleConfig, ErrRecovering, or an error that ends the session.
func ClaimMachine(
	ctx context.Context, x *session.Session, pool allocator.Pool, poolRevision int64, a netip.Addr, own bool,
) (_ record.Block, err error) {
	defer named(&err, "claim address %s of node %q itself in pool %q", a, x.Name(), pool.Name)
	if err := x.Entitled(); err != nil {
		return record.Block{}, err
	}
	claim := func(b record.Block, reservation *record.Reservation) (record.Block, error) {
		part, owned := b.PartOf(a)
		switch {
		case reservation != nil:
			return b, &record.TakenError{
				Pool: pool.Name, What: "node " + x.Name() + "'s own", Address: a, Holder: record.HolderOf(*reservation),
				Advice: "release the reservation (berthctl release), or give the node another address",
			}
		case !owned && pool.InStateful(a):
			b = b.Covered(record.OwnerStateful)
		case owned && part.Owner != record.OwnerStateful && part.Owner != record.OwnerMachine && (part.Owner != x.Name() || !own):
			return b, ErrTaken
		}
		return b.With(record.Part{Prefix: netip.PrefixFrom(a, a.BitLen()), Owner: record.OwnerMachine, Node: x.Name()}), nil
	}
	return rewriteBlock(ctx, x, "claim machine", pool, poolRevision, a, claim)
}

// ReleaseMachine gives up an address that the machine does not have any more. Where another node has it by now it succeeds.
func ReleaseMachine(
	ctx context.Context, x *session.Session, pool allocator.Pool, poolRevision int64, a netip.Addr,
) (_ record.Block, err error) {
	defer named(&err, "release address %s of node %q itself in pool %q", a, x.Name(), pool.Name)
	release := func(b record.Block, _ *record.Reservation) (record.Block, error) {
		return b.WithoutMachine(x.Name(), netip.PrefixFrom(a, a.BitLen())), nil
	}
	return rewriteBlock(ctx, x, "release machine", pool, poolRevision, a, release)
}

// rewriteBlock changes the block of an address, by what the block and the address's reservation are, and tries again when they
// have changed meanwhile. It compares the pool's revision.
func rewriteBlock(ctx context.Context, x *session.Session, what string, pool allocator.Pool, poolRevision int64, a netip.Addr,
	change func(record.Block, *record.Reservation) (record.Block, error)) (record.Block, error) {
	keys, prefix := x.KV().Keys, pool.BlockOf(a)
	key, reserved := keys.Block(pool.Name, prefix), keys.Reservation(pool.Name, a)
	if poolRevision <= 0 || !prefix.IsValid() {
		return record.Block{}, record.ErrStaleConfig
	}
	for range maxTries {
		seen := kv.Transact("read block")
		block, held := seen.Else(key), seen.Else(reserved)
		if err := x.KV().Query(ctx, kv.CallTime, seen); err != nil {
			return record.Block{}, err
		}
		now, err := record.ReadBlock(x.KV().Keys, pool.Name, prefix, block.KVs)
		if err != nil {
			return record.Block{}, err
		}
		var reservation *record.Reservation
		if held.Found() {
			r, err := record.ReservationCodec.Read(keys, held.KVs[0])
			if err != nil {
				return record.Block{}, err
			}
			reservation = &r
		}
		next, err := change(now, reservation)
		if err != nil || kv.Encode(next) == kv.Encode(now) || len(now.Parts)+len(next.Parts) == 0 {
			return now, err
		}
		op := kv.Put(key, next)
		if len(next.Parts) == 0 {
			op = clientv3.OpDelete(key)
		}
		t := x.Fenced(what)
		t.IfUnchanged(keys.Pool(pool.Name), poolRevision, record.ErrStaleConfig)
		t.If(kv.Unchanged(key, now.Revision))
		t.Then(op)
		if reservation == nil {
			t.If(kv.Absent(reserved))
		}
		if now.OwnerOf(a) == x.Name() { // its assignment is out of date, and nobody else would remove it
			t.Then(clientv3.OpDelete(keys.Assignment(pool.Name, a)))
		}
		if err := x.KV().Require(ctx, t); err != nil {
			return record.Block{}, err
		}
		if t.Done {
			next.Revision = t.Revision()
			return next, nil
		}
	}
	return record.Block{}, fmt.Errorf("others keep coming between: try again")
}
