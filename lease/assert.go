package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// AssertBlock makes the node the owner of those parts of a block that nobody owns: what the node holds and etcd has no
// record of. Missing is not lost; another's record stays as it is. It needs no certain state, and returns the block as
// it is then.
func (x *Session) AssertBlock(ctx context.Context, pool string, block netip.Prefix, parts []netip.Prefix) (Block, error) {
	b, err := x.assertBlock(ctx, pool, block, parts)
	if err != nil {
		return b, fmt.Errorf("lease: assert block %s in pool %q for node %q: %w", block, pool, x.node.Name, err)
	}
	return b, nil
}

func (x *Session) assertBlock(ctx context.Context, pool string, block netip.Prefix, parts []netip.Prefix) (Block, error) {
	key, now := x.store.keys.block(pool, block), Block{Pool: pool, Prefix: block}
	for n := 1; ; n++ {
		next := now
		next.Parts = slices.Clone(now.Parts)
		for _, p := range parts {
			for _, free := range allocator.Subtract(p, prefixesOf(now.Parts)) {
				next.Parts = append(next.Parts, Part{Prefix: free, Owner: x.node.Name})
			}
		}
		if next.Parts = canonical(block, next.Parts); now.Revision > 0 && slices.Equal(next.Parts, now.Parts) {
			return now, nil
		}
		response, err := x.store.settle(ctx, "assert block", transaction{
			If:   append(x.Owner(), unchanged(key, now.Revision)),
			Then: []clientv3.Op{put(key, next)},
			Else: append(x.ownerGets(), clientv3.OpGet(key)),
		})
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
		if now, err = x.store.keys.readBlock(pool, block, found(response, ownerReads)); err != nil {
			return Block{}, err
		}
		if n == blockTries {
			return now, ErrTaken
		}
	}
}

// An Assertion is a reservation that an attachment of this node has, with the epoch by which it got it.
type Assertion struct {
	Pool       allocator.Pool
	Identity   allocator.Identity
	Attachment allocator.Attachment
	Workload   allocator.Workload
	Addresses  []netip.Addr
	Epoch      int64
}

// AssertReservation makes etcd know again what an attachment of this node has: the identity's reservations, attached
// to it. A record that is missing is made, one that nobody holds is attached, and so is one of an earlier epoch while
// the session is recovering; another's stays as it is, and then ok is false: so does what the identity has got since.
// It needs no certain state. It returns the epoch by which etcd attaches them.
func (x *Session) AssertReservation(ctx context.Context, a Assertion) (epoch int64, ok bool, err error) {
	epoch, ok, err = x.assertReservation(ctx, a)
	if err != nil {
		return 0, false, fmt.Errorf("lease: assert the reservation of %s for node %q: %w", a.Identity, x.node.Name, err)
	}
	return epoch, ok, nil
}

func (x *Session) assertReservation(ctx context.Context, a Assertion) (epoch int64, ok bool, err error) {
	for range reserveTries {
		seen, err := x.seen(ctx, a)
		if err != nil {
			return 0, false, err
		}
		t, ok := seen.assertion()
		if !ok || t == nil {
			return seen.epoch, ok, nil
		}
		if seen.unread != nil {
			return 0, false, seen.unread
		}
		response, err := x.store.settle(ctx, "assert reservation", *t)
		if err != nil {
			return 0, false, err
		}
		if response.Succeeded {
			return seen.epoch, true, nil
		}
		if err := x.verdict(response); err != nil {
			return 0, false, err
		}
	}
	return 0, false, errors.New("others keep coming between: try again")
}
