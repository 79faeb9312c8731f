package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/berth-ipam/berth/internal/task"
)

// ErrStoreReset says that etcd shows another history than before: it was restored, or made anew.
var ErrStoreReset = errors.New("lease: etcd is not the one it was: it was restored or made anew")

// An Incarnation of the store is one history of etcd's, as this process has seen it: a cluster whose revisions only grow. An etcd
// that was restored from a snapshot, or made anew, is another incarnation, of which nothing that was learned in the former is
// true. Every call fails with ErrStoreReset then until Adopt has begun the new one.
type Incarnation struct {
	// changing is shared while followers are notified of what was read in this incarnation, which may take them calls, and held alone
	// while another begins.
	changing task.Lock

	mu       sync.Mutex
	number   int    // how many there were before
	cluster  uint64 // etcd's own id; 0: it has not answered yet
	revision int64  // the highest one that an answer has shown
	ended    bool   // an answer was of another incarnation
	adopted  bool   // Adopt has been called
	state    int64  // the incarnation of the state in it, by the cluster's record

	ctx context.Context // ends with the incarnation
	end context.CancelFunc
}

// A moment is an incarnation, and the highest revision that an answer had shown by then.
type moment struct {
	number   int
	revision int64
}

// known is the moment before a request. The answer has to be of the same incarnation and of no lower revision, since all
// requests are linearizable.
func (i *Incarnation) known() (moment, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ended {
		return moment{}, ErrStoreReset
	}
	return moment{i.number, i.revision}, nil
}

// Highest is the highest revision that an answer has shown, also of an incarnation that has ended.
func (i *Incarnation) Highest() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.revision
}

// witness checks the header of an answer to a request that was sent after known. The answer to a request of a former
// incarnation says nothing of this one.
func (i *Incarnation) witness(known moment, h *etcdserverpb.ResponseHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case known.number != i.number:
		return fmt.Errorf("%w (the request is older)", ErrStoreReset)
	case i.ended, i.cluster != 0 && h.ClusterId != i.cluster:
		i.ended = true
		return fmt.Errorf("%w (cluster %s)", ErrStoreReset, ClusterID(h.ClusterId))
	case h.Revision < known.revision:
		i.ended = true
		return fmt.Errorf("%w (revision %d after %d)", ErrStoreReset, h.Revision, known.revision)
	}
	i.cluster, i.revision = h.ClusterId, max(i.revision, h.Revision)
	return nil
}

// Compare compares an answer of etcd's, and the incarnation of the state in it, with what this process has seen: whether this
// incarnation goes on, whether the same etcd has gone back, and which etcd the process has known until now. Known is Highest
// from before the request was sent: other requests may have seen newer revisions since.
func (i *Incarnation) Compare(known int64, h *etcdserverpb.ResponseHeader, state int64) (goesOn, back bool, former string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cluster == 0 {
		return true, false, ""
	}
	same := i.cluster == h.ClusterId
	back = same && (i.ended || h.Revision < known)
	goesOn = same && !back && (!i.adopted || i.state == state)
	return goesOn, back, ClusterID(i.cluster)
}

// Adopt goes on with this incarnation, or begins the one that an answer is of. All watches end with the former one, and no
// follower is notified of anything before forget has returned. It fails where ctx ends before that begins.
func (i *Incarnation) Adopt(ctx context.Context, h *etcdserverpb.ResponseHeader, state int64, goesOn bool, forget func()) error {
	if goesOn {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.adopted, i.state = true, state
		i.cluster, i.revision = h.ClusterId, max(i.revision, h.Revision) // it may be the first answer of all
		return nil
	}
	if err := i.changing.Lock(ctx); err != nil {
		return err
	}
	defer i.changing.Unlock()
	i.begin(h, state)
	forget()
	return nil
}

func (i *Incarnation) begin(h *etcdserverpb.ResponseHeader, state int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.end != nil {
		i.end()
	}
	i.ctx, i.end = context.WithCancel(context.Background())
	i.number++
	i.adopted, i.state = true, state
	i.cluster, i.revision, i.ended = h.ClusterId, h.Revision, false
}

// during is ctx, but ends also with the present incarnation, whose number it returns.
func (i *Incarnation) during(ctx context.Context) (_ context.Context, number int, end context.CancelFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ctx == nil {
		i.ctx, i.end = context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(i.ctx, cancel)
	return ctx, i.number, func() { stop(); cancel() }
}

// Within calls f, which notifies of what was read in an incarnation, while no other can begin. Where that incarnation has ended,
// or ctx, it does not call f, and returns false.
func (i *Incarnation) Within(ctx context.Context, number int, f func()) (goesOn bool) {
	if i.changing.RLock(ctx) != nil {
		return false
	}
	defer i.changing.RUnlock()
	i.mu.Lock()
	goesOn = number == i.number
	i.mu.Unlock()
	if goesOn {
		f()
	}
	return goesOn
}

// ClusterID is an id of etcd's as records have it.
func ClusterID(id uint64) string { return strconv.FormatUint(id, 16) }
