package addresses

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
)

// awaitAddress waits until a requested address of another node's part is this node's. It fails at once where a container has the
// address.
func (ch *Chooser) awaitAddress(ctx context.Context, k SpaceKey, addr netip.Addr) error {
	at := ipam.Address{Pool: k.Pool, Addr: addr}
	me := ch.addresses.Requested.join(at)
	ch.addresses.Waiters.Signal.Raise()
	defer func() {
		ch.addresses.Requested.leave(at, me)
		ch.addresses.Waiters.Signal.Raise()
	}()
	for {
		owned, owner := false, ""
		ch.addresses.Pools.With(k, func(s *allocator.Space) { owned = s.Owns(addr) })
		if pool, _, err := ch.Pool(k.Pool); err == nil {
			b, _ := ch.addresses.Blocks.Of(pool, addr)
			owner = b.OwnerOf(addr)
		}
		if owned || owner == "" {
			return nil
		}
		if err := ch.heldElsewhere(ctx, at); err != nil {
			return err
		}
		if err := ch.claims.TakeOverBlockOf(ctx, k, addr); err != nil && !errors.Is(err, ErrNoBlock) {
			return wire.Errorf(wire.CodeTryAgain, "address %s was asked for: %w", addr, err)
		}
		look := time.NewTimer(lookTime)
		select {
		case <-me:
		case <-look.C:
		case <-ctx.Done():
			look.Stop()
			return wire.Errorf(wire.CodeTryAgain,
				"address %s was asked for, and belongs to node %s, which has not given it within %s: it may rest there, or that node is away", addr,
				owner, waitTime)
		}
		look.Stop()
	}
}

// heldElsewhere is an error that names the holder of an address by its published assignment; nil: there is none.
func (ch *Chooser) heldElsewhere(ctx context.Context, at ipam.Address) error {
	s, err := ch.Store.Blocks.Assignment(ctx, at.Pool, at.Addr)
	if err != nil || s == nil {
		//lint:ignore nilerr the address is asked for anyway, and its owner knows
		return nil
	}
	return wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and is held by container %s on node %s", at.Addr, s.Attachment, s.Node)
}

// patience returns a function that pauses, and reports whether a quarantine could still end in time. The time counts from the
// first call, because a claim may have taken long before.
func (ch *Chooser) patience() func(context.Context) bool {
	var end allocator.Instant
	return func(ctx context.Context) bool {
		if end == 0 {
			end = ch.Clock.Boot() + QuarantineIPAM + 100*time.Millisecond
		}
		task.Pause(ctx, 20*time.Millisecond)
		return ctx.Err() == nil && ch.Clock.Boot() < end
	}
}

// chooseAsked allocates the requested address, and claims its block where it has no owner.
func (ch *Chooser) chooseAsked(ctx context.Context, pool *allocator.Pool, k SpaceKey, addr netip.Addr) (allocator.Grant, error) {
	switch {
	case !pool.Contains(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig, "address %s was asked for, and pool %q has %v", addr, pool.Name, pool.CIDRs)
	case pool.InStateful(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig,
			"address %s was asked for by a stateless container, and lies in a stateful range of pool %q", addr, pool.Name)
	case !pool.Usable(addr):
		return allocator.Grant{}, wire.Errorf(wire.CodeConfig,
			"address %s was asked for, and is the network's, the gateway's or excluded in pool %q", addr, pool.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	patience := ch.patience()
	for {
		grant, err := ch.addresses.Pools.allocateAddress(k, addr, ch.Clock.Boot())
		switch {
		case err == nil:
			return grant, nil
		case errors.Is(err, allocator.ErrQuarantined) && patience(ctx):
			continue
		case errors.Is(err, allocator.ErrHeld):
			return grant, wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and is held by %s", addr, ch.nameHolder(pool.Name, addr))
		case !errors.Is(err, allocator.ErrNotOwned):
			return grant, wire.Errorf(wire.CodeTryAgain, "address %s was asked for: %w", addr, err)
		}
		if err := ch.claimFor(ctx, pool, k, addr); err != nil {
			return grant, err
		}
	}
}

func (ch *Chooser) nameHolder(pool string, addr netip.Addr) string {
	if e := ch.Journal.Holder(pool, addr); e != nil {
		return e.Attachment.String()
	}
	return "a request that is under way"
}

// claimFor claims the block of a requested address. It demands the address of the node that owns its part, if another does.
func (ch *Chooser) claimFor(wait context.Context, pool *allocator.Pool, k SpaceKey, addr netip.Addr) error {
	session, err := ch.Holding(allocator.Stateless)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), claimTime)
	defer cancel()
	b, err := block.Claim(ctx, session, pool.Name, ch.Config().PoolRevisions[pool.Name], pool.BlockOf(addr))
	if err != nil && !errors.Is(err, block.ErrTaken) {
		return wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and its block cannot be claimed now: %w", addr, err)
	}
	if err := ch.addresses.Own(session, b); err != nil {
		return err
	}
	owned := false
	ch.addresses.Pools.With(k, func(s *allocator.Space) { owned = s.Owns(addr) })
	switch {
	case owned:
		return nil
	case b.OwnerOf(addr) == ch.Name:
		return wire.Errorf(wire.CodeTryAgain, "address %s was asked for, and its block is not settled on this node yet", addr)
	}
	for _, p := range b.Machines() {
		if p.Prefix.Contains(addr) {
			return wire.Errorf(wire.CodeConfig, "address %s was asked for, and is an address of node %s itself", addr, p.Node)
		}
	}
	return ch.awaitAddress(wait, k, addr)
}
