package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/broken"
)

// renewals is how often a session is renewed within its time.
const renewals = 5

// A Session is a node's life in the cluster from one Join to the next. It is safe for concurrent use.
type Session struct {
	store      *Store
	node       Node
	generation int64 // the mod revision of the node's key, and of the session's: one transaction wrote both
	lease      clientv3.LeaseID
	cluster    int64 // the mod revision of the cluster's record
	recovering bool  // it is not that of the etcd which answers
	former     int64 // the mod revision that the node's key had until this session wrote it; 0: there was none
	hurry      chan struct{}

	shown atomic.Int64 // the mod revision of the node's status as the last proof has seen it; 0: there was none

	publishing sync.Mutex
	counter    int64  // the mod revision of the node's status
	published  Status // what it says
	batch      int64  // the number of the last batch that was tried

}

// A Presence is the record of a session: its node is there.
type Presence struct {
	Node     string    `json:"node,omitempty"` // in the key
	Since    time.Time `json:"since"`
	Revision int64     `json:"revision,omitempty"` // the node's generation: one transaction writes both
}

// Generation is the mod revision of the node's key as this session wrote it.
func (x *Session) Generation() int64 { return x.generation }

// Former is the generation that this session has followed upon; 0: the node had none. Where it is the one that the agent knows
// as its own, nobody has written the node's key in between.
func (x *Session) Former() int64 { return x.former }

// Node is the node's record as this session wrote it.
func (x *Session) Node() Node { return x.node }

// Cluster is the mod revision of the cluster's record under which the session began. Where it is not that of the Standing
// which Meet found, the record was rewritten in between, and what Meet has found is void.
func (x *Session) Cluster() int64 { return x.cluster }

// Recovering reports whether the session began while etcd's state was not certain: then it is given nothing, and only
// asserts what its node holds. It ends with ErrClusterChanged when the recovery does.
func (x *Session) Recovering() bool { return x.recovering }

// Owner compares that the node is still this session's, and the state that of the same cluster. It is for transactions
// that give the node something, or publish for it.
func (x *Session) Owner() []clientv3.Cmp {
	if broken.Generation {
		return nil
	}
	keys := x.store.keys
	return []clientv3.Cmp{
		unchanged(keys.node(x.node.Name), x.generation),
		unchanged(keys.session(x.node.Name), x.generation),
		unchanged(keys.cluster(), x.cluster),
	}
}

// ownerReads is how many operations ownerGets has.
const ownerReads = 3

// ownerGets reads what Owner compares, for verdict. They come first among the operations of an Else.
func (x *Session) ownerGets() []clientv3.Op {
	keys := x.store.keys
	return []clientv3.Op{
		clientv3.OpGet(keys.node(x.node.Name), clientv3.WithKeysOnly()),
		clientv3.OpGet(keys.session(x.node.Name), clientv3.WithKeysOnly()),
		clientv3.OpGet(keys.cluster(), clientv3.WithKeysOnly()),
	}
}

// verdict says what has become of the session, by the reads of ownerGets: nil, or what SessionOver knows.
func (x *Session) verdict(response *clientv3.TxnResponse) error {
	node := revisionOf(found(response, 0))
	switch {
	case node < x.generation: // what this session wrote is not there: nobody could take it away but a restore
		return fmt.Errorf("%w (node %q)", ErrOtherLife, x.node.Name)
	case node > x.generation:
		return fmt.Errorf("%w (node %q)", ErrReplaced, x.node.Name)
	case revisionOf(found(response, 1)) != x.generation:
		return fmt.Errorf("%w (node %q)", ErrSessionLost, x.node.Name)
	case revisionOf(found(response, 2)) != x.cluster:
		return fmt.Errorf("%w (node %q)", ErrClusterChanged, x.node.Name)
	}
	return nil
}

// given reports why the session may be given nothing, whatever its node asks for.
func (x *Session) given() error {
	if x.recovering {
		return ErrRecovering
	}
	return nil
}

// A Prover hears of each proof that the session lives: Arm before the read is sent that is to prove it, and Proven when
// it has, with the time since boot just before it was sent. Where Arm fails the proof is left for later.
type Prover interface {
	Arm() error
	Proven(sent time.Duration)
}

// Keep renews the session until it ends or ctx does. After each renewal it reads, linearizably, that the session is
// still this one: an answered renewal alone would prove nothing. While etcd is away it keeps trying. Its error is
// ErrSessionLost, ErrReplaced, ErrClusterChanged, ErrOtherLife or ctx's.
func (x *Session) Keep(ctx context.Context, prover Prover) error {
	interval := time.Duration(x.node.Session) / renewals
	renewal := &renewal{store: x.store, lease: x.lease}
	defer renewal.close()
	for {
		sent, err := x.prove(ctx, renewal, prover, min(2*interval, callTime))
		switch {
		case err == nil:
			prover.Proven(sent)
			err = x.rest(ctx, interval)
		case SessionOver(err):
			return err
		default:
			err = x.rest(ctx, interval/2+rand.N(interval/2))
		}
		if err != nil {
			return err
		}
	}
}

// ProveSoon has Keep prove the session at once, or again where a proof is under way.
func (x *Session) ProveSoon() {
	select {
	case x.hurry <- struct{}{}:
	default:
	}
}

// rest waits until the next proof is due; its error is ctx's, if that ends first.
func (x *Session) rest(ctx context.Context, d time.Duration) error {
	due := time.NewTimer(d)
	defer due.Stop()
	select {
	case <-due.C:
		return nil
	case <-x.hurry:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SessionOver reports whether an error says that the session is over: nothing is done under it any more, nor will be.
func SessionOver(err error) bool {
	for _, end := range []error{ErrSessionLost, ErrReplaced, ErrClusterChanged, ErrOtherLife} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func (x *Session) prove(ctx context.Context, renewal *renewal, prover Prover, patience time.Duration) (sent time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, renewed := insist(ctx, x.store, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, renewal.once(ctx) })
	if renewed != nil && !errors.Is(renewed, rpctypes.ErrLeaseNotFound) {
		return 0, x.store.failed("renew the session", renewed)
	}
	if err := prover.Arm(); err != nil {
		return 0, err
	}
	sent = x.store.now()
	status := clientv3.OpGet(x.store.keys.status(x.node.Name), clientv3.WithKeysOnly())
	response, err := x.store.consult(ctx, patience, "prove session", append(x.ownerGets(), status)...)
	if err != nil {
		return 0, err
	}
	if err := x.verdict(response); err != nil {
		return 0, err
	}
	if renewed != nil {
		return 0, fmt.Errorf("%w (node %q)", ErrSessionLost, x.node.Name)
	}
	x.shown.Store(revisionOf(found(response, ownerReads)))
	return sent, nil
}
