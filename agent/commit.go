package agent

import (
	"time"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/session"
)

// commit is the last step: under the gate, and only if the session is still the node's, ports join their class and the
// journal says that the answer is given.
func (a *Agent) commit(session *session.Session, adds []*add) (err error) {
	if broken.Generation {
		a.dawdle(session, adds)
	}
	commit := func() error { return a.commitAll(adds) }
	if broken.Generation {
		a.gate.Shared(func() { err = commit() })
		return err
	}
	return a.gate.Commit(session, commit)
}

func (a *Agent) commitAll(adds []*add) error {
	config := a.config.Load()
	for _, add := range adds {
		switch {
		case broken.Generation:
		case a.rights.Remaining(add.owns()) <= 0:
			return node.ErrSuperseded
		case add.former == nil && config.PoolRevisions[add.pool.Name] != add.config.PoolRevisions[add.pool.Name]:
			return node.ErrSuperseded // wired by a configuration that the roll-out believes to be past
		case !broken.Settling && a.lostAddress(add.entry):
			return node.ErrSuperseded // after those were looked for whom the loss of the block isolates
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
			a.metrics.Allocated(string(allocator.Stateful), "reserved")
			continue
		}
		for _, g := range add.grants {
			a.metrics.Allocated(string(allocator.Stateless), string(g.Source))
		}
		a.backlog.add(add.pool.Name, add.entry.Addresses)
	}
	return nil
}

// commitOne writes the answer down, which ends an isolation that this ADD has overcome, and lets the port pass then: who
// isolates meanwhile is found by the one or the other.
func (a *Agent) commitOne(add *add) error {
	answered := *add.entry
	answered.Answered, answered.Given = wire.Boottime(), given(add.entry.Role, add.pool)
	answered.Wiring.MAC = add.attached.mac
	answered.NamespaceID, answered.Netns, answered.Inode = add.attached.namespaceID, add.Netns, add.attached.inode
	if broken.Journal {
		time.AfterFunc(300*time.Millisecond, func() { _ = a.journal.Hold(&answered) })
	} else if err := a.journal.Change(&answered); err != nil {
		return wire.Errorf(wire.CodeTryAgain, "%w", err)
	}
	add.done = true
	passes, err := a.letPassUnlessBroken(&answered)
	if err != nil {
		return wire.Errorf(wire.CodeIO, "%w", err)
	}
	if !passes {
		return node.ErrSuperseded // it was chosen while its address was this node's; one that was answered before is refused anew
	}
	a.known(answered.Wiring.Port)
	if a.lagging.drop(add.attachment) {
		a.backlog.signal.Raise() // the status tells it
	}
	return nil
}
