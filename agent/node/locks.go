package node

import (
	"context"
	"sync"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
)

// Locks gives each attachment a lock: requests about one container run one after the other.
type Locks struct {
	mu   sync.Mutex
	held map[allocator.Attachment]*attachmentLock
}

type attachmentLock struct {
	users int           // holder and waiters, under Locks.mu
	token chan struct{} // holds one token while free
}

// Lock waits for a's lock until ctx ends.
func (l *Locks) Lock(ctx context.Context, a allocator.Attachment) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[allocator.Attachment]*attachmentLock{}
	}
	k := l.held[a]
	if k == nil {
		k = &attachmentLock{token: make(chan struct{}, 1)}
		k.token <- struct{}{}
		l.held[a] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, a)
		}
	}
	select {
	case <-k.token:
		released := lockorder.Attachment()
		return func() { released(); k.token <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// Count is how many attachments are locked or waited for.
func (l *Locks) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}
