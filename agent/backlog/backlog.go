package backlog

import (
	"net/netip"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
)

// Backlog are the stateless addresses whose assignment in etcd may differ from the journal. What is published is the journal's
// state at that time, so that a batch can be repeated, and several changes of one address cost one write.
type Backlog struct {
	mu     lockorder.Subject
	dirty  map[ipam.Address]struct{}
	sent   map[ipam.Address]struct{} // those popped, until Done
	Signal task.Signal
}

// New makes an empty backlog.
func New() *Backlog { return &Backlog{Signal: task.NewSignal()} }

// Add marks the assignment of addresses as changed.
func (b *Backlog) Add(pool string, addresses []netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirty == nil {
		b.dirty = map[ipam.Address]struct{}{}
	}
	for _, a := range addresses {
		b.dirty[ipam.Address{Pool: pool, Addr: a}] = struct{}{}
	}
	b.Signal.Raise()
}

// Pop empties the backlog. Done follows when etcd has what was popped, or when it was added again.
func (b *Backlog) Pop() map[ipam.Address]struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	dirty := b.dirty
	b.dirty, b.sent = nil, dirty
	return dirty
}

// Done says that what was popped has been published, or was added again.
func (b *Backlog) Done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = nil
}

// Len is how many addresses differ in etcd from the journal.
func (b *Backlog) Len() int {
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
