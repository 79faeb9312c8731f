package kv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// ErrStoreReset says that etcd shows another history than before: it was restored, or made anew. See Store.Meet.
var ErrStoreReset = errors.New("lease: etcd is not the one it was: it was restored or made anew")

// An Incarnation is one history of etcd's, as this process has seen it: an etcd cluster whose revisions only grow. An etcd that
// was restored from a snapshot, or made anew, begins another: what was learned in the former says nothing in it. Meet
// tells where etcd stands then; until it has, every call fails with ErrOtherLife.
type Incarnation struct {
	changing sync.RWMutex // held for reading by whoever tells what was read in this life, for writing while another begins

	mu       sync.Mutex
	number   int    // how many there were before
	cluster  uint64 // etcd's own id; 0: it has not answered yet
	revision int64  // the highest one that an answer has shown
	over     bool   // an answer was not of this life
	met      bool   // Meet has told where it stands
	state    int64  // the life of the state in it, as Meet found it

	ctx context.Context // ends with the life
	end context.CancelFunc
}

// A moment is one in a life of etcd's, with the highest revision that an answer had shown by then.
type moment struct {
	number   int
	revision int64
}

// known is the moment before a request: every answer to what is sent from now on is to be of this life and to have this
// revision at least, since all requests are linearizable.
func (l *Incarnation) known() (moment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return moment{}, ErrStoreReset
	}
	return moment{l.number, l.revision}, nil
}

// Highest is the highest revision that an answer has shown, also of a life that is over.
func (l *Incarnation) Highest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

// witness takes in the header of an answer to a request that was sent after known. One that was sent in a former life says
// nothing of this one.
func (l *Incarnation) witness(known moment, h *etcdserverpb.ResponseHeader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case known.number != l.number:
		return fmt.Errorf("%w (the request is older)", ErrStoreReset)
	case l.over, l.cluster != 0 && h.ClusterId != l.cluster:
		l.over = true
		return fmt.Errorf("%w (cluster %s)", ErrStoreReset, ClusterID(h.ClusterId))
	case h.Revision < known.revision:
		l.over = true
		return fmt.Errorf("%w (revision %d after %d)", ErrStoreReset, h.Revision, known.revision)
	}
	l.cluster, l.revision = h.ClusterId, max(l.revision, h.Revision)
	return nil
}

// Compare holds an answer of etcd's, and the life of the state in it, against what this process has seen: whether this
// life goes on, or the same etcd has gone back, and with which etcd the process has lived until now.
// Known is the highest revision from before the answer's request was sent: others may have seen newer ones since.
func (l *Incarnation) Compare(known int64, h *etcdserverpb.ResponseHeader, state int64) (goesOn, back bool, lived string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster == 0 {
		return true, false, ""
	}
	same := l.cluster == h.ClusterId
	back = same && (l.over || h.Revision < known)
	goesOn = same && !back && (!l.met || l.state == state)
	return goesOn, back, ClusterID(l.cluster)
}

// Meet goes on with this life, or begins the one that an answer is of. All watches end with the former one, and nobody tells
// of either before forget has returned.
func (l *Incarnation) Meet(h *etcdserverpb.ResponseHeader, state int64, goesOn bool, forget func()) {
	if goesOn {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.met, l.state = true, state
		l.cluster, l.revision = h.ClusterId, max(l.revision, h.Revision) // it may be the first answer of all
		return
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	l.begin(h, state)
	forget()
}

func (l *Incarnation) begin(h *etcdserverpb.ResponseHeader, state int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end != nil {
		l.end()
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.number++
	l.met, l.state = true, state
	l.cluster, l.revision, l.over = h.ClusterId, h.Revision, false
}

// during is ctx, but ends also with the present life, of which it gives the number.
func (l *Incarnation) during(ctx context.Context) (_ context.Context, number int, end context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.end = context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, l.number, func() { stop(); cancel() }
}

// Within calls f, which tells of what was read in a life, and no other begins meanwhile. Where that life is over it does not,
// and reports so.
func (l *Incarnation) Within(number int, f func()) (goesOn bool) {
	l.changing.RLock()
	defer l.changing.RUnlock()
	l.mu.Lock()
	goesOn = number == l.number
	l.mu.Unlock()
	if goesOn {
		f()
	}
	return goesOn
}

// ClusterID is an id of etcd's as records have it.
func ClusterID(id uint64) string { return strconv.FormatUint(id, 16) }
