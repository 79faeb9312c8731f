package agent

import (
	"net/netip"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
)

// isolated are the attachments whose address is another's now, with the reason.
type isolated struct {
	mu      sync.Mutex
	reasons map[allocator.Attachment]string
}

func (i *isolated) why(a allocator.Attachment) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reasons[a]
}

func (i *isolated) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.reasons)
}

// add reports whether a was not isolated yet.
func (i *isolated) add(a allocator.Attachment, reason string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.reasons == nil {
		i.reasons = map[allocator.Attachment]string{}
	}
	_, known := i.reasons[a]
	i.reasons[a] = reason
	return !known
}

func (i *isolated) remove(a allocator.Attachment) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.reasons, a)
}

// isolate cuts the port of an attachment whose address belongs to another now. The container is left to its runtime. It
// marks first and cuts then: see letPass.
func (a *Agent) isolate(e *journal.Entry, reason string) {
	if !a.has(e) {
		return
	}
	news := a.isolated.add(e.Attachment, reason)
	if !a.has(e) {
		a.isolated.remove(e.Attachment) // it has gone meanwhile, and nobody would remove it any more
		return
	}
	if news {
		a.Log.Warn("isolated a container", zap.Stringer("attachment", e.Attachment), zap.Stringers("addresses", e.Addresses), zap.String("why", reason))
	}
	if e.Wiring.Port == "" {
		return // another plugin made the interface: there is no port to cut, CHECK and STATUS say it
	}
	if err := a.kernel.Leave(e.Wiring.Port); err != nil {
		a.Log.Error("cannot isolate", zap.Stringer("attachment", e.Attachment), zap.Error(err))
	}
}

// has reports whether an entry speaks of what its attachment has now.
func (a *Agent) has(e *journal.Entry) bool {
	now := a.journal.Get(e.Attachment)
	return now != nil && now.Began == e.Began
}

// letPass puts the port of an attachment into its class, and reports whether it may pass: not if it is isolated. That is asked
// once more afterwards, so that whoever isolates it meanwhile finds the port in its class, or is found here.
func (a *Agent) letPass(e *journal.Entry) (passes bool, err error) {
	if a.isolated.why(e.Attachment) != "" {
		return false, nil
	}
	port := e.Wiring.Port
	if port == "" {
		return true, nil
	}
	if err := a.kernel.Join(port, string(e.Class)); err != nil {
		return false, err
	}
	if a.isolated.why(e.Attachment) != "" {
		return false, a.kernel.Leave(port)
	}
	return true, nil
}

// lostAddress reports whether an entry has an address in a part that is known to be another's.
func (a *Agent) lostAddress(e *journal.Entry) bool {
	pool, _, err := a.pool(e.Pool)
	return err == nil && e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		b, known := a.blocks.of(pool, addr)
		owner := b.OwnerOf(addr)
		return known && owner != "" && owner != a.Node
	})
}
