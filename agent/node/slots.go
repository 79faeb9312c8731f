package node

import (
	"context"

	"github.com/berth-ipam/berth/internal/lockorder"
)

// Slots is a semaphore for work on the kernel. A request waits for locks and for etcd without a slot, so that requests that etcd
// delays hold up no others. The holder of a slot waits only for the gate.
type Slots chan struct{}

// NewSlots makes n free slots.
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
