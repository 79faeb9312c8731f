package session

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// WriteTombstone replaces a node's record by a tombstone and ends its session, if both are as b says. It returns the tombstone's
// revision.
func WriteTombstone(ctx context.Context, c *kv.Client, name string, b Registration) (int64, error) {
	now := c.Clock.Wall()
	tombstone := record.Node{Name: name, Removed: &now}
	if b.Node != nil {
		tombstone.Fencing, tombstone.Started = b.Node.Fencing, b.Node.Started
		tombstone.Session, tombstone.AddressLease = b.Node.Session, b.Node.AddressLease
	}
	node, session := c.Keys.Node(name), c.Keys.Session(name)
	t := kv.Transact("bury node")
	t.If(kv.Unchanged(node, b.NodeRevision), kv.Unchanged(session, b.SessionRevision))
	t.Then(kv.Put(node, tombstone), clientv3.OpDelete(session))
	record, alive := t.Else(node), t.Else(session, clientv3.WithKeysOnly())
	switch err := c.Execute(ctx, t); {
	case err != nil:
		return 0, err
	case t.Done:
		if b.lease != 0 {
			c.Revoke(b.lease)
		}
		return t.Revision(), nil
	}
	if record.Found() && string(record.KVs[0].Value) == kv.Encode(tombstone) && !alive.Found() {
		return record.Revision(), nil // ours, by a try whose answer was lost
	}
	return 0, &NodeReturnedError{Node: name}
}

// A NodeReturnedError says that a node has come back while it was being removed. What it got is its own again.
type NodeReturnedError struct{ Node string }

func (e *NodeReturnedError) Error() string {
	return fmt.Sprintf("lease: node %q has come back while it was being removed, and settles what it holds: end its agent first", e.Node)
}
