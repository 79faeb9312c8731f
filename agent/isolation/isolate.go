package isolation

import (
	"fmt"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/netops"
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

// LetPass puts the port of an attachment into its class, with what it may send, unless it is isolated, and reports whether it did. It
// checks for an isolation again afterwards: a concurrent Isolate either finds the port in its class, or is seen here.
func (i *Isolator) LetPass(e *journal.Entry) (passes bool, err error) {
	if i.Journal.Isolation(e.Attachment) != nil {
		return false, nil
	}
	port := e.Wiring.Port
	if port == "" {
		return true, nil
	}
	if e.Wiring.Routed {
		if err := i.Kernel().Lead(plan.Led(e)); err != nil {
			return false, err
		}
	}
	if err := i.Kernel().Join(plan.Member(e)); err != nil {
		return false, err
	}
	if i.Journal.Isolation(e.Attachment) != nil {
		return false, i.Kernel().Leave(port)
	}
	return true, nil
}

// PassAgain lets the port of an answered entry pass, unless it is isolated, or stays cut until etcd records its container.
func (i *Isolator) PassAgain(e *journal.Entry) error {
	waits := i.Awaits(func(at ipam.Address) bool { return at.Pool == e.Pool && slices.Contains(e.Addresses, at.Addr) })
	if e.Answered > 0 && !waits && i.HoldBack(e) == nil {
		_, err := i.LetPass(e)
		return err
	}
	return nil
}

// findingCut is the kind of the finding that a container's port is cut because etcd does not record its address.
const findingCut = "container-cut"

// cutOff are the addresses of containers whose ports are cut until etcd records them.
type cutOff struct {
	atomic.Pointer[map[ipam.Address]bool]
}

// ReportCut sets the finding that an entry's port is cut and that etcd does not record the container.
func (i *Isolator) ReportCut(e *journal.Entry) {
	i.Findings.Set(findingCut, e.Attachment.String(),
		fmt.Sprintf("its port %s is cut, and etcd does not say that %s is its", e.Wiring.Port, e.AddressList()),
		"nothing, where etcd gets the record again: the container passes then; else delete it")
}

// AwaitRecords replaces the entries that wait for a record in etcd, and the findings about them by those of reported.
func (i *Isolator) AwaitRecords(entries, reported []*journal.Entry) {
	waiting := map[ipam.Address]bool{}
	for _, e := range entries {
		for _, addr := range e.Addresses {
			waiting[ipam.Address{Pool: e.Pool, Addr: addr}] = true
		}
	}
	i.cutOff.Store(&waiting)
	var names []string
	for _, e := range reported {
		names = append(names, e.Attachment.String())
	}
	i.Findings.Keep(findingCut, names...)
}

// ClearCut clears the finding about an entry that has been released.
func (i *Isolator) ClearCut(e *journal.Entry) { i.Findings.Clear(findingCut, e.Attachment.String()) }

// Awaits reports whether a container that is cut until etcd records it has an address that f picks.
func (i *Isolator) Awaits(f func(ipam.Address) bool) bool {
	if all := i.cutOff.Load(); all != nil {
		for at := range *all {
			if f(at) {
				return true
			}
		}
	}
	return false
}

// SetAside cuts a port whose container is unknown, and sets a finding.
func (i *Isolator) SetAside(p netops.PortInfo, why string) {
	if err := i.Kernel().Leave(p.Name); err != nil {
		i.Log.Error("cannot isolate a port whose container is not known: take it off its bridge by hand", zap.String("port", p.Name),
			zap.Error(err))
	}
	i.Unidentified.add(p)
	i.Findings.Set(findingUnidentified, p.Name, fmt.Sprintf("it is not known whose port this is (%s): it is isolated", why),
		"delete its container, or the link where no container has it; where etcd names its container, it passes by itself")
}

// Identified forgets an unidentified port that has an entry now, or is gone.
func (i *Isolator) Identified(port string) {
	if i.Unidentified.drop(port) {
		i.Findings.Clear(findingUnidentified, port)
	}
}

// RemoveUnidentified removes the unidentified port of an attachment that is deleted. The attachment's lock is held.
func (i *Isolator) RemoveUnidentified(at allocator.Attachment) error {
	p, is := i.Unidentified.Of(at)
	if !is {
		return nil
	}
	if err := i.Kernel().Detach(p.Name); err != nil {
		return err
	}
	i.Identified(p.Name)
	return nil
}

// SettleUnsure has the node settle again when a record was repaired and attachments wait for one.
func (i *Isolator) SettleUnsure(repaired bool) {
	if repaired && i.Unsure.len() > 0 {
		i.Reassert.Raise()
	}
}

// HoldBack keeps the port of an attachment of unknown ownership closed in strict mode, and returns why; nil: the port may open.
func (i *Isolator) HoldBack(e *journal.Entry) error {
	why := i.Unsure.why(e.Attachment)
	if why == nil || !i.Strict() || e.Answered == 0 || e.Wiring.Port == "" {
		return nil
	}
	i.Cut(e)
	i.Findings.Set(findingCut, e.Attachment.String(),
		fmt.Sprintf("its port %s stays cut until the record of its address can be read: %v", e.Wiring.Port, why), unsureAdvice)
	return why
}

const unsureAdvice = "repair the record as berthctl doctor says: the container passes then; else delete it"
