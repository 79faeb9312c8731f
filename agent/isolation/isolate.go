package isolation

import (
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
)

// An Isolator decides whose port the kernel lets pass, where etcd does not say that an address is its container's: it cuts off
// who has lost his address, and sets aside what nobody can tell whose it is.
type Isolator struct {
	*node.Node
	Unidentified unidentified
	Unsure       unsure
	cutOff       cutOff
	astray       atomic.Bool // somebody is to be cut off whom the kernel may still let pass
}

// New makes a node's isolator.
func New(n *node.Node) *Isolator { return &Isolator{Node: n} }

// A loss says why an entry has lost its address; nil: it has not.
type loss func(*journal.Entry) *journal.Isolation

// LostFor is the loss of an entry for a reason, whatever has become of its attachment since.
func LostFor(e *journal.Entry, reason string) loss {
	return func(now *journal.Entry) *journal.Isolation {
		if now.Began != e.Began {
			return nil // another life of it, which has not lost what that one had
		}
		return &journal.Isolation{Reason: reason, Epoch: journal.Never}
	}
}

// Isolate cuts the port of an attachment off if it has lost its address. The container is left to its runtime. The cut comes
// first, since the journal may be slow, and once more after it has been noted: see letPass. It survives the agent: a port that
// is found cut stays so until etcd names it.
func (a *Isolator) Isolate(at allocator.Attachment, lost loss) {
	e := a.Journal.Get(at)
	if e == nil || lost(e) == nil {
		return
	}
	a.Cut(e)
	for {
		if e = a.Journal.Get(at); e == nil || lost(e) == nil { // it has a new life, or none
			a.Uncut(at)
			return
		}
		now, noted := a.Journal.Isolate(e, *lost(e))
		if !noted {
			continue // it has changed meanwhile
		}
		a.Cut(now)
		if e.Isolated == nil {
			a.Log.Warn("isolated a container: its address is another's; delete it, or find out who has the address by berthctl show",
				zap.Stringer("attachment", at), zap.Stringers("addresses", now.Addresses), zap.String("why", now.Isolated.Reason))
		}
		return
	}
}

// Cut takes an entry's port out of its class. Where another plugin made the interface there is none: CHECK says it then.
func (a *Isolator) Cut(e *journal.Entry) {
	if e.Wiring.Port == "" {
		return
	}
	if err := a.Kernel.Leave(e.Wiring.Port); err != nil {
		a.Log.Error("cannot isolate a container yet; it is tried again each second", zap.Stringer("attachment", e.Attachment), zap.Error(err))
		a.astray.Store(true)
	}
}

// Uncut lets an attachment pass that was cut by a loss which is not its own.
func (a *Isolator) Uncut(at allocator.Attachment) {
	e := a.Journal.Get(at)
	if e == nil || e.Answered == 0 {
		return
	}
	if _, err := a.LetPass(e); err != nil {
		a.Log.Error("cannot let a container's port pass; this node settles again", zap.Stringer("attachment", at), zap.Error(err))
		a.SettleAgain()
	}
}

// CutAgain cuts those off who are isolated and whom the kernel may still let pass, since cutting has failed.
func (a *Isolator) CutAgain() {
	if !a.astray.CompareAndSwap(true, false) {
		return
	}
	for _, e := range a.Journal.Entries() {
		if e.Isolated != nil {
			a.Cut(e)
		}
	}
}

// LetPass puts the port of an attachment into its class, and reports whether it may pass: not if it is isolated. That is asked
// once more afterwards, so that whoever isolates it meanwhile finds the port in its class, or is found here.
func (a *Isolator) LetPass(e *journal.Entry) (passes bool, err error) {
	if a.Journal.Isolation(e.Attachment) != nil {
		return false, nil
	}
	port := e.Wiring.Port
	if port == "" {
		return true, nil
	}
	if err := a.Kernel.Join(port, string(e.Class)); err != nil {
		return false, err
	}
	if a.Journal.Isolation(e.Attachment) != nil {
		return false, a.Kernel.Leave(port)
	}
	return true, nil
}
