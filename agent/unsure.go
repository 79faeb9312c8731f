package agent

import (
	"sync"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
)

// unsure are the attachments of which settling could not find out whether their address is still theirs: the record cannot
// be read, and etcd does not remember what it was before. In strict mode nothing of theirs is opened until the record is
// mended; in the mode of evidence they go on.
type unsure struct {
	mu  sync.Mutex
	all map[allocator.Attachment]error
}

func (u *unsure) reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = nil
}

func (u *unsure) add(at allocator.Attachment, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[allocator.Attachment]error{}
	}
	u.all[at] = why
}

func (u *unsure) why(at allocator.Attachment) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all[at]
}

func (u *unsure) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

// settleUnsure has the node settle anew where a record was mended and containers wait for one.
func (a *Agent) settleUnsure(mended bool) {
	if mended && a.unsure.len() > 0 {
		a.reassert.raise()
	}
}

// holdBack keeps the port of an attachment closed of which nobody can tell whether its address is its own, where that is
// promised. It reports whether it does.
func (a *Agent) holdBack(e *journal.Entry) bool {
	why := a.unsure.why(e.Attachment)
	if why == nil || !a.strict() || e.Wiring.Port == "" {
		return false
	}
	a.Log.Warn("a container stays cut until the record of its address can be read", zap.Stringer("attachment", e.Attachment), zap.Error(why))
	if err := a.kernel.Leave(e.Wiring.Port); err != nil {
		a.Log.Error("cannot isolate", zap.Stringer("attachment", e.Attachment), zap.Error(err))
	}
	return true
}
