package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// renewals is how often a session is renewed within its time.
const renewals = 5

// A Session is a node's life in the cluster from one Join to the next. It is safe for concurrent use.
type Session struct {
	store      *Store
	node       Node
	generation int64 // the mod revision of the node's key, and of the session's: one transaction wrote both
	lease      clientv3.LeaseID

	publishing sync.Mutex
	counter    int64  // the mod revision of the node's status
	published  Status // what it says
	batch      int64  // the number of the last batch that was tried
}

// presence is the record of a session.
type presence struct {
	Since time.Time `json:"since"`
}

// Generation is the mod revision of the node's key as this session wrote it.
func (x *Session) Generation() int64 { return x.generation }

// Node is the node's record as this session wrote it.
func (x *Session) Node() Node { return x.node }

// Owner compares that the node is still this session's. It is for transactions that give the node something, or
// publish for it.
func (x *Session) Owner() []clientv3.Cmp {
	return []clientv3.Cmp{
		unchanged(x.store.keys.node(x.node.Name), x.generation),
		unchanged(x.store.keys.session(x.node.Name), x.generation),
	}
}

// ownerGets reads what Owner compares, for verdict. They come first among the operations of an Else.
func (x *Session) ownerGets() []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(x.store.keys.node(x.node.Name), clientv3.WithKeysOnly()),
		clientv3.OpGet(x.store.keys.session(x.node.Name), clientv3.WithKeysOnly()),
	}
}

// verdict says what has become of the session: nil, ErrReplaced or ErrSessionLost.
func (x *Session) verdict(node, session []*mvccpb.KeyValue) error {
	switch {
	case revisionOf(node) != x.generation:
		return fmt.Errorf("%w (node %q)", ErrReplaced, x.node.Name)
	case revisionOf(session) != x.generation:
		return fmt.Errorf("%w (node %q)", ErrSessionLost, x.node.Name)
	}
	return nil
}

// Keep renews the session until it ends or ctx does. After each renewal it reads, linearizably, that the session is
// still this one, and then calls proven with the time since boot just before that read was sent: an answered renewal
// alone would prove nothing. While etcd is away it keeps trying. Its error is ErrSessionLost, ErrReplaced or ctx's.
func (x *Session) Keep(ctx context.Context, proven func(sent time.Duration)) error {
	interval := time.Duration(x.node.Session) / renewals
	for {
		sent, err := x.prove(ctx, min(2*interval, callTime))
		switch {
		case err == nil:
			proven(sent)
			err = pause(ctx, interval)
		case errors.Is(err, ErrSessionLost), errors.Is(err, ErrReplaced):
			return err
		default:
			err = pause(ctx, interval/2+rand.N(interval/2))
		}
		if err != nil {
			return err
		}
	}
}

func (x *Session) prove(ctx context.Context, patience time.Duration) (sent time.Duration, err error) {
	client, err := x.store.etcd()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, renewal := client.KeepAliveOnce(ctx, x.lease)
	if renewal != nil && !errors.Is(renewal, rpctypes.ErrLeaseNotFound) {
		return 0, renewal
	}
	sent = x.store.now()
	response, err := x.store.commit(ctx, "prove session", transaction{Then: x.ownerGets()})
	if err != nil {
		return 0, err
	}
	if err := x.verdict(found(response, 0), found(response, 1)); err != nil {
		return 0, err
	}
	if renewal != nil {
		return 0, fmt.Errorf("%w (node %q)", ErrSessionLost, x.node.Name)
	}
	return sent, nil
}
