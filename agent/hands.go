package agent

import "context"

// parallel is how many requests work on the kernel at once; further ones wait for their turn.
const parallel = 64

// hands bound the work on the kernel. What a request waits for besides, a lock or etcd, it waits for without one, so that
// requests that etcd keeps waiting hold up no others. Whoever has a hand waits for nothing but the gate.
type hands chan struct{}

// take waits for a hand until ctx ends.
func (h hands) take(ctx context.Context) (giveBack func(), err error) {
	select {
	case h <- struct{}{}:
		return func() { <-h }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
