package lease

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
)

// RemoveOptions say how RemoveNode goes about it.
type RemoveOptions struct {
	Force   bool                     // end its session, if it has one, and do not wait for its right to run out
	Waiting func(left time.Duration) // called again and again while RemoveNode waits; nil: nobody looks
}

// A Removal counts what a node had.
type Removal struct {
	Node         string        `json:"node"`
	Parts        int           `json:"parts"` // of blocks
	Assignments  int           `json:"assignments"`
	Reservations int           `json:"reservations"` // that were attached there; they stay reserved
	Waited       time.Duration `json:"-"`
}

// An UnknownNodeError says that etcd has nothing under a node's name.
type UnknownNodeError struct{ Node string }

func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("lease: there is no node %q, and nothing that belongs to it", e.Node)
}

// A NodeLiveError says that a node has a session.
type NodeLiveError struct{ Node string }

func (e *NodeLiveError) Error() string {
	return fmt.Sprintf("lease: node %q has a session: its agent runs, or did a moment ago", e.Node)
}

// A NodeReturnedError says that a node has come back while it was being removed. What it got is its own again.
type NodeReturnedError struct{ Node string }

func (e *NodeReturnedError) Error() string {
	return fmt.Sprintf("lease: node %q has come back while it was being removed, and settles what it holds: end its agent first", e.Node)
}

// RemoveNode takes from a node that is gone whatever it has: its parts of blocks are nobody's, its reservations are
// attached to nobody, its assignments and its status go. A gravestone stays in the place of its record, so that any
// machine may join under the name and nobody waits for the node's rights. It waits before, on this process' clock, for
// as long as the node may still use what it holds: the right's time and a tenth from when its session was first seen
// absent.
//
// The gravestone is written first: a node that returns then rewrites its key, and every transaction that follows
// compares the gravestone. So what a returning node settles is not taken from it. Repeating is harmless. It fails with
// *UnknownNodeError, *NodeLiveError and *NodeReturnedError.
func (s *adminStore) RemoveNode(ctx context.Context, name string, o RemoveOptions) (Removal, error) {
	if err := ValidNode("node", name); err != nil {
		return Removal{}, fmt.Errorf("lease: remove node: %w", err)
	}
	removal, err := s.removeNode(ctx, name, o)
	if err != nil {
		return removal, fmt.Errorf("lease: remove node %q: %w", name, err)
	}
	return removal, nil
}

func (s *adminStore) removeNode(ctx context.Context, name string, o RemoveOptions) (removal Removal, err error) {
	removal.Node = name
	b, err := s.sessions.lookAtNode(ctx, name)
	if err != nil {
		return removal, err
	}
	if b.sessionRevision > 0 && !o.Force {
		return removal, &NodeLiveError{Node: name}
	}
	if !o.Force {
		if removal.Waited, err = s.waitOut(ctx, name, b, o.Waiting); err != nil {
			return removal, err
		}
	}
	held, err := s.heldBy(ctx, name)
	if err != nil {
		return removal, err
	}
	if b.node == nil && held.empty() {
		return removal, &UnknownNodeError{Node: name}
	}
	grave := b.nodeRevision
	if b.node == nil || b.node.Removed == nil || b.sessionRevision > 0 {
		if grave, err = s.sessions.bury(ctx, name, b); err != nil {
			return removal, err
		}
	}
	for {
		taken, err := s.takeAll(ctx, name, grave, held)
		removal.Parts += taken.Parts
		removal.Assignments += taken.Assignments
		removal.Reservations += taken.Reservations
		if err != nil {
			return removal, err
		}
		// What the node had sent before the gravestone was written may have come in between.
		if held, err = s.heldBy(ctx, name); err != nil || held.empty() {
			return removal, err
		}
	}
}

// waitOut waits until the right has run out over what the node holds. It looks again all the while: a node that comes
// back rewrites its key.
func (s *adminStore) waitOut(ctx context.Context, name string, b before, waiting func(time.Duration)) (waited time.Duration, err error) {
	const look = time.Second
	began := time.Now() // its monotonic part counts
	right, err := s.rightOf(ctx, name, b)
	if err != nil {
		return 0, err
	}
	for {
		left := ipam.WaitOut(right) - time.Since(began)
		if left <= 0 {
			return time.Since(began), nil
		}
		if waiting != nil {
			waiting(left)
		}
		if err := pause(ctx, min(look, left)); err != nil {
			return 0, err
		}
		now, err := s.sessions.lookAtNode(ctx, name)
		switch {
		case err != nil && !Away(err):
			return 0, err
		case err == nil && (now.sessionRevision > 0 || now.nodeRevision != b.nodeRevision):
			return 0, &NodeReturnedError{Node: name}
		}
	}
}

// rightOf is the longest right that the node had over anything that it holds. One without a record fenced by the
// settings, in all likelihood.
func (s *adminStore) rightOf(ctx context.Context, name string, b before) (time.Duration, error) {
	var by Settings
	switch {
	case b.node == nil:
		config, err := s.config.Config(ctx)
		if err != nil {
			return 0, err
		}
		by = config.Settings
	case b.node.Removed != nil:
		return 0, nil
	default:
		by = Settings{Fencing: b.node.Fencing, Session: b.node.Session, AddressLease: b.node.AddressLease}
	}
	held, err := s.heldBy(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case held.owns:
		return time.Duration(max(by.AddressLease, by.Session)), nil
	case len(held.reservations) > 0 && by.Fencing != FencingEvidence:
		return time.Duration(by.Session), nil
	}
	return 0, nil
}

// takeAll takes what the node was read to have, in as many transactions as it takes. What has changed since stays: it
// is read again.
func (s *adminStore) takeAll(ctx context.Context, name string, grave int64, held belongings) (taken Removal, err error) {
	node, session := s.kv.keys.node(name), s.kv.keys.session(name)
	for chunk := range slices.Chunk(held.all(), maxOps-2) {
		t := transact("remove node")
		t.IfUnchanged(node, grave, &NodeReturnedError{Node: name})
		t.IfUnchanged(session, 0, &NodeReturnedError{Node: name})
		for _, b := range chunk {
			t.If(unchanged(b.key, b.revision))
			t.Then(b.op)
		}
		if err := s.kv.settled(ctx, t); err != nil {
			return taken, err
		}
		if t.Done {
			for _, b := range chunk {
				taken.Parts += b.counts.Parts
				taken.Assignments += b.counts.Assignments
				taken.Reservations += b.counts.Reservations
			}
		}
	}
	return taken, nil
}
