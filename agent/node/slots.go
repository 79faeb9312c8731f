package node

import (
	"context"

	"github.com/berth-ipam/berth/internal/lockorder"
)

// Slots bound how many requests work on the kernel at once; further ones wait for their turn. What a request waits for
// besides, a lock or etcd, it waits for without a slot, so that requests that etcd keeps waiting hold up no others. Whoever
// has a slot waits for nothing but the gate.
type Slots chan struct{}

// NewSlots makes as many slots, all free.
func NewSlots(n int) Slots { return make(Slots, n) }

// Acquire waits for a slot until ctx ends.
func (s Slots) Acquire(ctx context.Context) (release func(), err error) {
	select {
	case s <- struct{}{}:
		released := lockorder.Slot()
		return func() { released(); <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
