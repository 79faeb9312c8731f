package lease

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// bury puts a gravestone in the place of a node's record and ends its session, if all is as b says. It returns the
// gravestone's revision.
func (s *sessionStore) bury(ctx context.Context, name string, b before) (int64, error) {
	now := time.Now().UTC()
	stone := Node{Name: name, Removed: &now}
	if b.node != nil {
		stone.Fencing, stone.Session, stone.AddressLease, stone.Started = b.node.Fencing, b.node.Session, b.node.AddressLease, b.node.Started
	}
	node, session := s.kv.keys.node(name), s.kv.keys.session(name)
	t := transact("bury node")
	t.If(unchanged(node, b.nodeRevision), unchanged(session, b.sessionRevision))
	t.Then(put(node, stone))
	if b.sessionRevision > 0 {
		t.Then(clientv3.OpDelete(session))
	}
	record, alive := t.Else(node), t.Else(session, clientv3.WithKeysOnly())
	switch err := s.kv.settle(ctx, t); {
	case err != nil:
		return 0, err
	case t.Done:
		if b.lease != 0 {
			s.kv.revoke(b.lease)
		}
		return t.revision(), nil
	}
	if record.there() && string(record.kvs[0].Value) == encode(stone) && !alive.there() {
		return record.revision(), nil // ours, by a try whose answer was lost
	}
	return 0, &NodeReturnedError{Node: name}
}
