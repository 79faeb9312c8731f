package isolation

import (
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
)

// An Isolator decides which ports pass in the kernel where etcd does not confirm an address: it cuts containers that have lost
// theirs, and ports whose container is unknown.
type Isolator struct {
	*node.Node
	Unidentified unidentified
	Unsure       unsure
	cutOff       cutOff
	uncut        atomic.Bool // a cut has failed: an isolated port may still pass
}

// New makes a node's isolator.
func New(n *node.Node) *Isolator { return &Isolator{Node: n} }

// A loss says why an entry has lost its address; nil: it has not.
type loss func(*journal.Entry) *journal.Isolation

// LostFor is the loss of an entry for a reason, whatever has become of its attachment since.
func LostFor(e *journal.Entry, reason string) loss {
	return func(now *journal.Entry) *journal.Isolation {
		if now.Began != e.Began {
			return nil // a newer attachment, which has not lost what the former one had
		}
		return &journal.Isolation{Reason: reason, Epoch: journal.Never}
	}
}

// Isolate cuts the port of an attachment that has lost its address. The container itself is left to its runtime. The port is cut
// before the journal is written, which may be slow, and again afterwards: see LetPass. The isolation survives a restart: a port
// that is found cut stays so until etcd records its container.
func (i *Isolator) Isolate(at allocator.Attachment, lost loss) {
	e := i.Journal.Get(at)
	if e == nil || lost(e) == nil {
		return
	}
	i.Cut(e)
	for {
		if e = i.Journal.Get(at); e == nil || lost(e) == nil { // it has been replaced, or is gone
			i.Uncut(at)
			return
		}
		now, noted := i.Journal.Isolate(e, *lost(e))
		if !noted {
			continue // it has changed meanwhile
		}
		i.Cut(now)
		if e.Isolated == nil {
			i.Log.Warn("isolated a container: its address is another's; delete it, or find out who has the address by berthctl show",
				zap.Stringer("attachment", at), zap.Stringers("addresses", now.Addresses), zap.String("why", now.Isolated.Reason))
		}
		return
	}
}

// Cut takes an entry's port out of its class. In the IPAM role there is no port; CHECK reports the isolation then.
func (i *Isolator) Cut(e *journal.Entry) {
	if e.Wiring.Port == "" {
		return
	}
	if err := i.Kernel().Leave(e.Wiring.Port); err != nil {
		i.Log.Error("cannot isolate a container yet; it is tried again each second", zap.Stringer("attachment", e.Attachment), zap.Error(err))
		i.uncut.Store(true)
	}
}

// Uncut lets an attachment pass that was cut by mistake.
func (i *Isolator) Uncut(at allocator.Attachment) {
	e := i.Journal.Get(at)
	if e == nil || e.Answered == 0 {
		return
	}
	if _, err := i.LetPass(e); err != nil {
		i.Log.Error("cannot let a container's port pass; this node settles again", zap.Stringer("attachment", at), zap.Error(err))
		i.SettleAgain()
	}
}

// CutAgain cuts isolated ports whose cut has failed.
func (i *Isolator) CutAgain() {
	if !i.uncut.CompareAndSwap(true, false) {
		return
	}
	for _, e := range i.Journal.Entries() {
		if e.Isolated != nil {
			i.Cut(e)
		}
	}
}

// LetPass puts the port of an attachment into its class unless it is isolated, and reports whether it did. It checks for an
// isolation again afterwards: a concurrent Isolate either finds the port in its class, or is seen here.
func (i *Isolator) LetPass(e *journal.Entry) (passes bool, err error) {
	if i.Journal.Isolation(e.Attachment) != nil {
		return false, nil
	}
	port := e.Wiring.Port
	if port == "" {
		return true, nil
	}
	if err := i.Kernel().Join(port, string(e.Class)); err != nil {
		return false, err
	}
	if i.Journal.Isolation(e.Attachment) != nil {
		return false, i.Kernel().Leave(port)
	}
	return true, nil
}
