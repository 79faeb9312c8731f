package agent

import (
	"net/netip"
	"sync"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
)

// backlog are the stateless addresses whose assignment in etcd may differ from the journal. What is published is what
// the journal says at that time, so that a batch can be repeated, and many changes of one address cost one write.
type backlog struct {
	mu     sync.Mutex
	dirty  map[ipam.Address]struct{}
	sent   map[ipam.Address]struct{} // those that were taken, while it is not known that etcd has them
	signal task.Signal
}

func newBacklog() *backlog { return &backlog{signal: task.NewSignal()} }

func (b *backlog) add(pool string, addresses []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirty == nil {
		b.dirty = map[ipam.Address]struct{}{}
	}
	for _, a := range addresses {
		b.dirty[ipam.Address{Pool: pool, Addr: a}] = struct{}{}
	}
	b.signal.Raise()
}

// take empties the backlog; done follows, once etcd has what was taken or it is in the backlog again.
func (b *backlog) take() map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	dirty := b.dirty
	b.dirty, b.sent = nil, dirty
	return dirty
}

func (b *backlog) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = nil
}

// len is how many addresses etcd does not have as the journal has them.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.sent)
	for a := range b.dirty {
		if _, again := b.sent[a]; !again {
			n++
		}
	}
	return n
}
