package lockorder

import (
	"context"
	"sync"

	"github.com/berth-ipam/berth/internal/task"
)

// A Spanning is a sync.RWMutex whose holder may call the kernel or etcd: see task.Lock. The zero Spanning is held by nobody.
type Spanning struct {
	made sync.Once
	lock task.Lock
}

func (s *Spanning) get() task.Lock {
	s.made.Do(func() { s.lock = task.NewLock() })
	return s.lock
}

// Lock is that of a sync.RWMutex.
func (s *Spanning) Lock() { _ = s.get().Lock(context.Background()) } // it cannot fail: this context does not end

// Unlock is that of a sync.RWMutex.
func (s *Spanning) Unlock() { s.get().Unlock() }

// RLock is that of a sync.RWMutex.
func (s *Spanning) RLock() { _ = s.get().RLock(context.Background()) }

// RUnlock is that of a sync.RWMutex.
func (s *Spanning) RUnlock() { s.get().RUnlock() }

// TryLock is that of a sync.RWMutex.
func (s *Spanning) TryLock() bool { return s.get().TryLock() }

// TryRLock is that of a sync.RWMutex.
func (s *Spanning) TryRLock() bool { return s.get().TryRLock() }
