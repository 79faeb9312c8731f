package attach

import (
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/update"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/session"
)

// commit is the last step. Under the gate, if the session is still the node's, ports join their class and the journal records
// that the answer is given.
func (a *Attacher) commit(session *session.Session, adds []*insertion) error {
	return a.Gate.Commit(session, func() error { return a.commitAll(adds) })
}

func (a *Attacher) commitAll(adds []*insertion) error {
	config := a.Config()
	for _, add := range adds {
		switch {
		case a.Rights.Remaining(add.owns()) <= 0:
			return node.ErrSuperseded
		case add.former == nil && config.PoolRevisions[add.pool.Name] != add.config.PoolRevisions[add.pool.Name]:
			return node.ErrSuperseded // wired by a configuration that the roll-out has passed
		case a.Addresses.LostAddress(add.entry):
			return node.ErrSuperseded // its block was lost after the chosen addresses were checked
		}
	}
	for _, add := range adds {
		if err := a.commitOne(add); err != nil {
			return err
		}
	}
	for _, add := range adds {
		if add.former != nil {
			continue
		}
		if add.class == allocator.Stateful {
			a.Metrics.Allocated(string(allocator.Stateful), "reserved")
			continue
		}
		for _, g := range add.grants {
			a.Metrics.Allocated(string(allocator.Stateless), string(g.Source))
		}
		a.Backlog.Add(add.pool.Name, add.entry.Addresses)
	}
	return nil
}

// commitOne records the answer, which ends an isolation that this ADD has overcome, and then opens the port. A concurrent
// isolation is seen by one of the two.
func (a *Attacher) commitOne(add *insertion) error {
	answered := *add.entry
	answered.Answered, answered.Given = a.Clock.Boot(), update.Given(add.entry, add.pool)
	answered.Wiring.MAC = add.attached.mac
	answered.NamespaceID, answered.Netns, answered.Inode = add.attached.namespaceID, add.Netns, add.attached.inode
	if err := a.Journal.Change(&answered); err != nil {
		return wire.Errorf(wire.CodeTryAgain, "%w", err)
	}
	add.done = true
	passes, err := a.Isolator.LetPass(&answered)
	if err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	if !passes {
		return node.ErrSuperseded // isolated since the address was chosen
	}
	a.Isolator.Identified(answered.Wiring.Port)
	if a.Updater.Lagging.Drop(add.attachment) {
		a.Backlog.Signal.Raise() // the status has changed
	}
	return nil
}
