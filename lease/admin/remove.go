package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
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

// RemoveNode takes from a node that is gone whatever it has: its parts of blocks are nobody's, its reservations are
// attached to nobody, its assignments and its status go. A tombstone stays in the place of its record, so that any
// machine may join under the name and nobody waits for the node's rights. It waits before, on this process' clock, for
// as long as the node may still use what it holds: the right's time and a tenth from when its session was first seen
// absent.
//
// The tombstone is written first: a node that returns then rewrites its key, and every transaction that follows compares
// the tombstone. So what a returning node settles is not removed from it. Repeating is harmless. It fails with
// *UnknownNodeError, *NodeLiveError and *session.NodeReturnedError.
func (s *Store) RemoveNode(ctx context.Context, name string, o RemoveOptions) (Removal, error) {
	if err := record.ValidNode("node", name); err != nil {
		return Removal{}, fmt.Errorf("lease: remove node: %w", err)
	}
	removal, err := s.removeNode(ctx, name, o)
	if err != nil {
		return removal, fmt.Errorf("lease: remove node %q: %w", name, err)
	}
	return removal, nil
}

func (s *Store) removeNode(ctx context.Context, name string, o RemoveOptions) (removal Removal, err error) {
	removal.Node = name
	b, err := s.nodes.Lookup(ctx, name)
	if err != nil {
		return removal, err
	}
	if b.SessionRevision > 0 && !o.Force {
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
	if b.Node == nil && held.empty() {
		return removal, &UnknownNodeError{Node: name}
	}
	tombstone := b.NodeRevision
	if b.Node == nil || b.Node.Removed == nil || b.SessionRevision > 0 {
		if tombstone, err = session.WriteTombstone(ctx, s.kv, name, b); err != nil {
			return removal, err
		}
	}
	for {
		removed, err := s.removeAll(ctx, name, tombstone, held)
		removal.Parts += removed.Parts
		removal.Assignments += removed.Assignments
		removal.Reservations += removed.Reservations
		if err != nil {
			return removal, err
		}
		// What the node had sent before the tombstone was written may have been carried out in between.
		if held, err = s.heldBy(ctx, name); err != nil || held.empty() {
			return removal, err
		}
	}
}

// waitOut waits until the right has run out over what the node holds. It looks again all the while: a node that comes
// back rewrites its key.
func (s *Store) waitOut(
	ctx context.Context, name string, b session.Registration, waiting func(time.Duration),
) (waited time.Duration, err error) {
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
		if err := task.Pause(ctx, min(look, left)); err != nil {
			return 0, err
		}
		now, err := s.nodes.Lookup(ctx, name)
		switch {
		case err != nil && !kv.Unavailable(err):
			return 0, err
		case err == nil && (now.SessionRevision > 0 || now.NodeRevision != b.NodeRevision):
			return 0, &session.NodeReturnedError{Node: name}
		}
	}
}

// errSettingsUnknown says that nobody can tell how long a node without a record may use what it holds.
var errSettingsUnknown = errors.New("its record is gone, and which settings it followed is not known: repair them first (berthctl doctor)")

// rightOf is the longest right that the node had to anything that it holds, or may hold. A node without a record is taken to have
// fenced as the settings say.
func (s *Store) rightOf(ctx context.Context, name string, b session.Registration) (time.Duration, error) {
	var by record.Settings
	switch {
	case b.Node == nil:
		config, err := s.config.Read(ctx)
		if err != nil {
			return 0, err
		}
		if config.Unsettled {
			return 0, errSettingsUnknown
		}
		by = config.Settings
	case b.Node.Removed != nil:
		return 0, nil
	default:
		by = record.Settings{Fencing: b.Node.Fencing, Session: b.Node.Session, AddressLease: b.Node.AddressLease}
	}
	held, err := s.heldBy(ctx, name)
	switch {
	case err != nil:
		return 0, err
	case held.mayOwn:
		return time.Duration(max(by.AddressLease, by.Session)), nil
	case held.mayHold && by.Fencing != record.FencingEvidence:
		return time.Duration(by.Session), nil
	}
	return 0, nil
}

// removeAll removes what the node was read to have, in as many transactions as it takes. What has changed since stays, and is
// read again.
func (s *Store) removeAll(ctx context.Context, name string, tombstone int64, held belongings) (removed Removal, err error) {
	node, alive := s.kv.Keys.Node(name), s.kv.Keys.Session(name)
	for chunk := range slices.Chunk(held.all(), kv.MaxOps-2) {
		t := kv.Transact("remove node")
		t.IfUnchanged(node, tombstone, &session.NodeReturnedError{Node: name})
		t.IfUnchanged(alive, 0, &session.NodeReturnedError{Node: name})
		for _, b := range chunk {
			t.If(kv.Unchanged(b.key, b.revision))
			t.Then(b.op)
		}
		if err := s.kv.Require(ctx, t); err != nil {
			return removed, err
		}
		if t.Done {
			for _, b := range chunk {
				removed.Parts += b.counts.Parts
				removed.Assignments += b.counts.Assignments
				removed.Reservations += b.counts.Reservations
			}
		}
	}
	return removed, nil
}
