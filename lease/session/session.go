package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// renewals is how often a session is renewed within its time.
const renewals = 5

// A Session is a node's membership of the cluster, from one Join to the next. It is safe for concurrent use.
type Session struct {
	kv         *kv.Client
	node       record.Node
	generation int64 // the mod revision of the node's key, and of the session's: one transaction wrote both
	lease      clientv3.LeaseID
	cluster    int64 // the mod revision of the cluster's record
	recovering bool  // it is not that of the etcd which answers
	former     int64 // the mod revision that the node's key had until this session wrote it; 0: there was none
	soon       chan struct{}

	statusSeen atomic.Int64 // the mod revision of the node's status as the last proof has seen it; 0: there was none

	status *kv.Read // the node's status as the session began
	once   sync.Once
	extra  any // see Extra
}

// Generation is the mod revision of the node's key as this session wrote it.
func (x *Session) Generation() int64 { return x.generation }

// Former is the generation before this session's; 0: the node had none. Where it is the one that the agent knows as its own,
// nobody has written the node's key in between.
func (x *Session) Former() int64 { return x.former }

// Name is the node's.
func (x *Session) Name() string { return x.node.Name }

// Lease is etcd's lease that the session's key is attached to. What is to end with the session is attached to it, too.
func (x *Session) Lease() clientv3.LeaseID { return x.lease }

// KV is the store that the session is of.
func (x *Session) KV() *kv.Client { return x.kv }

// Node is the node's record as this session wrote it.
func (x *Session) Node() record.Node { return x.node }

// Cluster is the mod revision of the cluster's record when the session began. Where it is not ClusterState.Revision of the
// handshake, the record was rewritten in between, and what the handshake found is void.
func (x *Session) Cluster() int64 { return x.cluster }

// Recovering reports whether the session began during a recovery: then it is given nothing, and only asserts what its node
// holds. It ends with ErrClusterChanged when the recovery does.
func (x *Session) Recovering() bool { return x.recovering }

// owner returns the compares that fence a transaction: the node's key and its session's are as this session wrote them, and the
// cluster's record is unchanged.
func (x *Session) owner() []clientv3.Cmp {
	keys := x.kv.Keys
	return []clientv3.Cmp{
		kv.Unchanged(keys.Node(x.node.Name), x.generation),
		kv.Unchanged(keys.Session(x.node.Name), x.generation),
		kv.Unchanged(keys.Cluster(), x.cluster),
	}
}

// Fenced begins a transaction that gives the node something, or publishes for it. It is carried out only while the session
// lives; its verdict says how the session has ended, with an error for which Over is true.
func (x *Session) Fenced(operation string) *kv.Txn {
	t := kv.Transact(operation)
	t.If(x.owner()...)
	x.judge(t)
	return t
}

// judge lets a transaction's verdict say how the session has ended.
func (x *Session) judge(t *kv.Txn) {
	keys, name := x.kv.Keys, x.node.Name
	over := func(end error) error { return fmt.Errorf("%w (node %q)", end, name) }
	t.Judge(keys.Node(name), func(now int64) error {
		switch {
		case now < x.generation: // only a restore can have taken back what this session wrote
			return over(kv.ErrStoreReset)
		case now > x.generation:
			return over(ErrReplaced)
		}
		return nil
	})
	t.Judge(keys.Session(name), func(now int64) error {
		if now != x.generation {
			return over(ErrLost)
		}
		return nil
	})
	t.Judge(keys.Cluster(), func(now int64) error {
		if now != x.cluster {
			return over(ErrClusterChanged)
		}
		return nil
	})
}

// Entitled fails with ErrRecovering where the session may be given nothing.
func (x *Session) Entitled() error {
	if x.recovering {
		return ErrRecovering
	}
	return nil
}

// Status is the node's status as it was when the session began. Only the session has written it since.
func (x *Session) Status() *kv.Read { return x.status }

// StatusSeen is the mod revision of the node's status as the last proof has seen it, or as it was written since.
func (x *Session) StatusSeen() int64 { return x.statusSeen.Load() }

// WroteStatus sets StatusSeen to what the session has just written.
func (x *Session) WroteStatus(revision int64) { x.statusSeen.Store(revision) }

// Extra is what another part of the program keeps for as long as the session: it is made once.
func (x *Session) Extra(make func() any) any {
	x.once.Do(func() { x.extra = make() })
	return x.extra
}

// A Prover is called for each proof that the session lives: Arm before the proving read is sent, and Proven once it has
// succeeded, with the time since boot just before it was sent. Where Arm fails the proof is left for later.
type Prover interface {
	Arm() error
	Proven(sent time.Duration)
}

// Keep renews the session until it ends or ctx does. After each renewal it reads, linearizably, that the session is
// still this one: an answered renewal alone proves nothing. While etcd is away it keeps trying. Its error is ErrLost,
// ErrReplaced, ErrClusterChanged, kv.ErrStoreReset or ctx's.
func (x *Session) Keep(ctx context.Context, prover Prover) error {
	interval := time.Duration(x.node.Session) / renewals
	renewal := kv.NewRenewal(x.kv, x.lease)
	defer renewal.Close()
	for {
		sent, err := x.prove(ctx, renewal, prover, min(2*interval, kv.CallTime))
		switch {
		case err == nil:
			prover.Proven(sent)
			err = x.rest(ctx, interval)
		case Over(err):
			return err
		default:
			err = x.rest(ctx, interval/2+x.kv.Random.Below(interval/2))
		}
		if err != nil {
			return err
		}
	}
}

// ProveSoon has Keep prove the session at once, or again where a proof is under way.
func (x *Session) ProveSoon() {
	select {
	case x.soon <- struct{}{}:
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
	case <-x.soon:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Over reports whether an error says that the session has ended: no transaction of it is carried out any more.
func Over(err error) bool {
	for _, end := range []error{ErrLost, ErrReplaced, ErrClusterChanged, kv.ErrStoreReset} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

func (x *Session) prove(ctx context.Context, renewal *kv.Renewal, prover Prover, patience time.Duration) (sent time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, renewed := kv.Retry(ctx, x.kv, patience, func(ctx context.Context) (struct{}, error) { return struct{}{}, renewal.Once(ctx) })
	if renewed != nil && !errors.Is(renewed, rpctypes.ErrLeaseNotFound) {
		return 0, x.kv.Failed("renew the session", renewed)
	}
	if err := prover.Arm(); err != nil {
		return 0, err
	}
	sent = x.kv.Clock.Boot()
	t := kv.Transact("prove session")
	x.judge(t)
	status := t.Else(x.kv.Keys.Status(x.node.Name), clientv3.WithKeysOnly())
	if err := x.kv.Query(ctx, patience, t); err != nil {
		return 0, err
	}
	if err := t.Verdict(); err != nil {
		return 0, err
	}
	if renewed != nil {
		return 0, fmt.Errorf("%w (node %q)", ErrLost, x.node.Name)
	}
	x.statusSeen.Store(status.Revision())
	return sent, nil
}
