package lease

import (
	"context"
	"fmt"
	"sync"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A life is one history of etcd's, as this process has seen it: an etcd cluster whose revisions only grow. An etcd that
// was restored from a snapshot, or made anew, begins another: what was learned in the former says nothing in it. Meet
// tells where etcd stands then; until it has, every call fails with ErrOtherLife.
type life struct {
	mu       sync.Mutex
	cluster  uint64 // etcd's own id; 0: it has not answered yet
	revision int64  // the highest one that an answer has shown
	over     bool   // an answer was not of this life
	met      bool   // Meet has told where it stands
	state    int64  // the life of the state in it, as Meet found it

	ctx context.Context // ends with the life
	end context.CancelFunc
}

// known is the revision that every answer to a request that is sent from now on is to have at least, since all requests
// are linearizable.
func (l *life) known() (revision int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return 0, ErrOtherLife
	}
	return l.revision, nil
}

// highest is the highest revision that an answer has shown, also of a life that is over.
func (l *life) highest() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

// witness takes in the header of an answer to a request before which the revision known was known.
func (l *life) witness(known int64, h *etcdserverpb.ResponseHeader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over, l.cluster != 0 && h.ClusterId != l.cluster:
		l.over = true
		return fmt.Errorf("%w (cluster %s)", ErrOtherLife, clusterID(h.ClusterId))
	case h.Revision < known:
		l.over = true
		return fmt.Errorf("%w (revision %d after %d)", ErrOtherLife, h.Revision, known)
	}
	l.cluster, l.revision = h.ClusterId, max(l.revision, h.Revision)
	return nil
}

// compare holds an answer of etcd's, and the life of the state in it, against what this process has seen: whether this
// life goes on, or the same etcd has gone back, and with which etcd the process has lived until now.
// Known is the highest revision from before the answer's request was sent: others may have seen newer ones since.
func (l *life) compare(known int64, h *etcdserverpb.ResponseHeader, state int64) (goesOn, back bool, lived string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster == 0 {
		return true, false, ""
	}
	same := l.cluster == h.ClusterId
	back = same && (l.over || h.Revision < known)
	goesOn = same && !back && (!l.met || l.state == state)
	return goesOn, back, clusterID(l.cluster)
}

// meet goes on with this life, or begins the one that an answer is of. All watches end with the former one.
func (l *life) meet(h *etcdserverpb.ResponseHeader, state int64, goesOn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.met, l.state = true, state
	if goesOn {
		l.cluster, l.revision = h.ClusterId, max(l.revision, h.Revision) // it may be the first answer of all
		return
	}
	if l.end != nil {
		l.end()
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.cluster, l.revision, l.over = h.ClusterId, h.Revision, false
}

// during is ctx, but ends also with the present life.
func (l *life) during(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.end = context.WithCancel(context.Background())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
