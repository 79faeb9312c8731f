package task

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// everybody is more than can ever share a lock.
const everybody = 1 << 30

// A Lock is for what spans calls, to etcd or to the kernel: one holds it alone, or several share it. Who waits for it waits for
// as long as a context, and at a channel. A sync.RWMutex knows no context, and who waits for one stops the virtual time of a test
// (testing/synctest), in which the call of its holder would never end. Who comes first is served first.
type Lock struct{ slots *semaphore.Weighted }

// NewLock makes a lock that nobody holds.
func NewLock() Lock { return Lock{semaphore.NewWeighted(everybody)} }

// Lock waits until nobody else has the lock. Its error is ctx's: then the caller does not have it.
func (l Lock) Lock(ctx context.Context) error { return l.slots.Acquire(ctx, everybody) }

// TryLock is Lock where that needs no wait.
func (l Lock) TryLock() bool { return l.slots.TryAcquire(everybody) }

// Unlock gives the lock back.
func (l Lock) Unlock() { l.slots.Release(everybody) }

// RLock waits until nobody has the lock alone. Its error is ctx's: then the caller does not share it.
func (l Lock) RLock(ctx context.Context) error { return l.slots.Acquire(ctx, 1) }

// TryRLock is RLock where that needs no wait. It is refused while somebody waits for the lock.
func (l Lock) TryRLock() bool { return l.slots.TryAcquire(1) }

// RUnlock gives back a share of the lock.
func (l Lock) RUnlock() { l.slots.Release(1) }
