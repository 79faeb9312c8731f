package journal

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
)

// A Table is the readable part of a journal. Its entries are immutable: a change is a new entry.
type Table struct {
	mu     lockorder.SubjectRW
	state  *state
	listed atomic.Int64 // how many entries were returned by full lists
}

// Get is the entry of an attachment, or nil.
func (t *Table) Get(a allocator.Attachment) *Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state.live[a]
}

// Holder is the entry that has the address, or nil.
func (t *Table) Holder(pool string, a netip.Addr) *Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, _ := t.state.holder.get(pool, a)
	return e
}

// Within are the entries that have an address in a prefix, each once and in no order.
func (t *Table) Within(pool string, in netip.Prefix) (all []*Entry) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all = t.state.holder.within(pool, in)
	if len(all) < 2 {
		return all
	}
	seen := make(map[*Entry]struct{}, len(all))
	return slices.DeleteFunc(all, func(e *Entry) bool {
		_, twice := seen[e]
		seen[e] = struct{}{}
		return twice
	})
}

// OfPort is the entry of a port, or nil.
func (t *Table) OfPort(name string) *Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state.ports[name]
}

// InNamespace are the entries whose container's namespace has that id of the kernel, in no order.
func (t *Table) InNamespace(id int) []*Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Keys(t.state.spaces[id+1]))
}

// Len is how many entries there are.
func (t *Table) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.state.live)
}

// Entries are all entries, in no order.
func (t *Table) Entries() []*Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*Entry, 0, len(t.state.live))
	for _, e := range t.state.live {
		all = append(all, e)
	}
	t.listed.Add(int64(len(all)))
	return all
}

// Looked is how many buckets and entries were visited so far. It is for tests: work on one block or container must cost the same
// however many others there are.
func (t *Table) Looked() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.listed.Load() + t.state.holder.looked.Load() + t.state.freed.looked.Load()
}

// Overtaken reports whether an ADD of the attachment that began then may have been overtaken by a later release. Old releases are
// not kept apart: an ADD that is older than one of them counts as overtaken.
func (t *Table) Overtaken(a allocator.Attachment, began allocator.Instant) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state.overtaken(a, began)
}

// Freed are the stateless addresses that were released and are not held, the longest free first.
func (t *Table) Freed() []Freed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return byAge(slices.Collect(t.state.freed.all()))
}

// FreedWithin is Freed for what lies in a prefix.
func (t *Table) FreedWithin(pool string, in netip.Prefix) []Freed {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return byAge(t.state.freed.within(pool, in))
}

func byAge(all []Freed) []Freed {
	slices.SortFunc(all, func(a, b Freed) int { return cmp.Or(cmp.Compare(a.At, b.At), a.Address.Compare(b.Address)) })
	return all
}

// Pending are the detachments that are not published yet.
func (t *Table) Pending() []Detachment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]Detachment, 0, len(t.state.pending))
	for _, d := range t.state.pending {
		all = append(all, d)
	}
	return all
}

// Detaching reports whether a detachment of an attachment is pending.
func (t *Table) Detaching(a allocator.Attachment) bool {
	return slices.ContainsFunc(t.Pending(), func(d Detachment) bool { return d.Attachment == a })
}

// Isolation is why an attachment is isolated; nil: it is not.
func (t *Table) Isolation(at allocator.Attachment) *Isolation {
	if e := t.Get(at); e != nil {
		return e.Isolated
	}
	return nil
}

// Isolated is how many attachments are isolated.
func (t *Table) Isolated() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state.isolated
}
