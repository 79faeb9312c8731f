package addresses

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
)

// requested are the addresses that this node demands by name from the owners of their parts: those that ADDs wait for, and the
// machine's own.
type requested struct {
	mu      lockorder.Subject
	adds    map[ipam.Address][]task.Signal
	machine map[ipam.Address]bool
}

// join registers an ADD that waits for an address. Its signal is raised when something has changed.
func (w *requested) join(at ipam.Address) task.Signal {
	me := task.NewSignal()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.adds == nil {
		w.adds = map[ipam.Address][]task.Signal{}
	}
	w.adds[at] = append(w.adds[at], me)
	return me
}

func (w *requested) leave(at ipam.Address, me task.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.adds[at] = slices.DeleteFunc(w.adds[at], func(each task.Signal) bool { return each == me }); len(w.adds[at]) == 0 {
		delete(w.adds, at)
	}
}

// wake wakes the ADDs that wait for an address of a pool.
func (w *requested) wake(pool string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at, all := range w.adds {
		if at.Pool == pool {
			for _, each := range all {
				each.Raise()
			}
		}
	}
}

// SetMachine replaces the machine's addresses that other nodes own, and reports whether they have changed.
func (w *requested) SetMachine(all map[ipam.Address]bool) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news = len(all) != len(w.machine)
	for at := range all {
		news = news || !w.machine[at]
	}
	w.machine = all
	return news
}

// demandedAtOnce bounds how many addresses a demand names. The others follow when these are met.
const demandedAtOnce = 64

// Into adds the requested addresses to the demands of each pool.
func (w *requested) Into(demands map[string]record.Demand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for at := range w.adds {
		d := demands[at.Pool]
		if d.Pool = at.Pool; len(d.Addresses) < demandedAtOnce {
			d.Addresses = append(d.Addresses, at.Addr)
		}
		demands[at.Pool] = d
	}
	for at := range w.machine {
		d := demands[at.Pool]
		if d.Pool = at.Pool; len(d.Machine) < demandedAtOnce {
			d.Machine = append(d.Machine, at.Addr)
		}
		demands[at.Pool] = d
	}
}

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
		if err := ch.TakeOverBlockOf(ctx, k, addr); err != nil && !errors.Is(err, ErrNoBlock) {
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

// TakeOverBlockOf takes over what an absent node owns of an address's block once its right has run out; else it returns
// ErrNoBlock.
func (ch *Chooser) TakeOverBlockOf(ctx context.Context, k SpaceKey, addr netip.Addr) error {
	pool, _, err := ch.Pool(k.Pool)
	if err != nil {
		return err
	}
	b, known := ch.addresses.Blocks.Of(pool, addr)
	from, _, over := ch.Absences.Over(b.OwnerOf(addr), allocator.Stateless)
	if !known || !over {
		return ErrNoBlock
	}
	session, err := ch.Holding(allocator.Stateless)
	if err == nil {
		err = ch.takeOver(ctx, session, k, b, from)
	}
	if _, lost := errors.AsType[*block.LostError](err); lost || errors.Is(err, block.ErrTaken) {
		return ErrNoBlock
	}
	return err
}
