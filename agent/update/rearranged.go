package update

import (
	"errors"
	"reflect"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/netops"
)

// rearranged are the containers that a roll-out cannot update because their interfaces were rearranged by hand. A roll-out tries
// each one once for each wiring.
type rearranged struct {
	mu    lockorder.Subject
	known map[allocator.Attachment]beyond
}

// beyond is why an attachment cannot be brought to a wiring.
type beyond struct {
	began  allocator.Instant
	wiring journal.Wiring
	reason string
}

// why is the known reason why an entry cannot be updated; empty: none.
func (r *rearranged) why(e *journal.Entry, pool *allocator.Pool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.known[e.Attachment]; ok && b.began == e.Began && reflect.DeepEqual(b.wiring, plan.Rewired(e, pool)) {
		return b.reason
	}
	return ""
}

// add records why an entry was not brought to its pool's present configuration, and returns the reason as text.
func (r *rearranged) add(e *journal.Entry, pool *allocator.Pool, err error) (reason string) {
	if _, ok := errors.AsType[*netops.RearrangedError](err); !ok {
		return err.Error()
	}
	reason = err.Error() + "; it must be made anew"
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[allocator.Attachment]beyond{}
	}
	r.known[e.Attachment] = beyond{e.Began, plan.Rewired(e, pool), reason}
	return reason
}

// keep forgets containers that do not lag.
func (r *rearranged) keep(lagging map[allocator.Attachment]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at := range r.known {
		if _, lags := lagging[at]; !lags {
			delete(r.known, at)
		}
	}
}

func (r *rearranged) is(at allocator.Attachment) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, is := r.known[at]
	return is
}

func (r *rearranged) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}

func (r *rearranged) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
}
