package agent

import (
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
)

// isolationOf is why an entry is isolated; empty: it is not.
func isolationOf(e *journal.Entry) string {
	if e.Isolated == nil {
		return ""
	}
	return e.Isolated.Reason
}

// A loss says why an entry has lost its address; nil: it has not.
type loss func(*journal.Entry) *journal.Isolation

// lostFor is the loss of an entry for a reason, whatever has become of its attachment since.
func lostFor(e *journal.Entry, reason string) loss {
	return func(now *journal.Entry) *journal.Isolation {
		if now.Began != e.Began {
			return nil // another life of it, which has not lost what that one had
		}
		return &journal.Isolation{Reason: reason, Epoch: journal.Never}
	}
}

// isolate cuts the port of an attachment off if it has lost its address. The container is left to its runtime. The cut comes
// first, since the journal may be slow, and once more after it has been noted: see letPass. It survives the agent: a port that
// is found cut stays so until etcd names it.
func (a *Agent) isolate(at allocator.Attachment, lost loss) {
	e := a.journal.Get(at)
	if e == nil || lost(e) == nil {
		return
	}
	a.cut(e)
	now, first := a.journal.Isolate(at, lost)
	if now == nil { // it has a new life, or none
		a.uncut(at)
		return
	}
	a.cut(now)
	if first {
		a.Log.Warn("isolated a container: its address is another's; delete it, or find out who has the address by berthctl show",
			zap.Stringer("attachment", at), zap.Stringers("addresses", now.Addresses), zap.String("why", now.Isolated.Reason))
	}
}

// cut takes an entry's port out of its class. Where another plugin made the interface there is none: CHECK says it then.
func (a *Agent) cut(e *journal.Entry) {
	if e.Wiring.Port == "" {
		return
	}
	if err := a.kernel.Leave(e.Wiring.Port); err != nil {
		a.Log.Error("cannot isolate a container yet; it is tried again each second", zap.Stringer("attachment", e.Attachment), zap.Error(err))
		a.astray.Store(true)
	}
}

// uncut lets an attachment pass that was cut by a loss which is not its own.
func (a *Agent) uncut(at allocator.Attachment) {
	e := a.journal.Get(at)
	if e == nil || e.Answered == 0 {
		return
	}
	if _, err := a.letPass(e); err != nil {
		a.Log.Error("cannot let a container's port pass; this node settles again", zap.Stringer("attachment", at), zap.Error(err))
		a.settleAgain()
	}
}

// cutAgain cuts those off who are isolated and whom the kernel may still let pass, since cutting has failed.
func (a *Agent) cutAgain() {
	if !a.astray.CompareAndSwap(true, false) {
		return
	}
	for _, e := range a.journal.Entries() {
		if e.Isolated != nil {
			a.cut(e)
		}
	}
}

// letPass puts the port of an attachment into its class, and reports whether it may pass: not if it is isolated. That is asked
// once more afterwards, so that whoever isolates it meanwhile finds the port in its class, or is found here.
func (a *Agent) letPass(e *journal.Entry) (passes bool, err error) {
	if a.journal.Isolation(e.Attachment) != nil {
		return false, nil
	}
	port := e.Wiring.Port
	if port == "" {
		return true, nil
	}
	if err := a.kernel.Join(port, string(e.Class)); err != nil {
		return false, err
	}
	if a.journal.Isolation(e.Attachment) != nil {
		return false, a.kernel.Leave(port)
	}
	return true, nil
}

// lostAddress reports whether an entry has an address in a part that is known to be another's.
func (a *Agent) lostAddress(e *journal.Entry) bool {
	return e.Class == allocator.Stateless && slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool {
		owner := a.ownerOf(e.Pool, addr)
		return owner != "" && owner != a.Node
	})
}

// ownerOf is who owns the part of an address, by what is known; empty: nobody, or it is not known.
func (a *Agent) ownerOf(poolName string, addr netip.Addr) string {
	pool, _, err := a.pool(poolName)
	if err != nil {
		return ""
	}
	b, _ := a.blocks.of(pool, addr)
	return b.OwnerOf(addr)
}
