package session

import (
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// Rights are a node's rights to what it holds, one for each class of addresses. A right lasts for a time from the sending of the
// last linearizable read in which the node saw its own session. So another node that sees the session absent, and waits for
// that time and a tenth, can be sure that the right has run out. Rights is safe for concurrent use.
type Rights struct {
	now func() time.Duration

	mu                    sync.Mutex
	proven                bool
	sent                  map[allocator.Class]time.Duration
	session, addressLease time.Duration
}

// NewRights begins without any right. Now is the time since boot, CLOCK_BOOTTIME.
func NewRights(now func() time.Duration) *Rights {
	return &Rights{now: now, sent: map[allocator.Class]time.Duration{}}
}

// Prove lets the rights last from a read that was sent at sent, for the times in the node's key. A proof that is older than a
// known one changes nothing.
func (r *Rights) Prove(sent, session, addressLease time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sent < max(r.sent[allocator.Stateless], r.sent[allocator.Stateful]) {
		return
	}
	r.proven, r.session, r.addressLease = true, session, addressLease
	r.sent[allocator.Stateless], r.sent[allocator.Stateful] = sent, sent
}

// Extend lets the rights that have not run out last from a newer read, and revives none: it is for a session whose node has not
// settled yet. While a right has not run out nobody has taken anything over.
func (r *Rights) Extend(sent time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for class, before := range r.sent {
		if r.remaining(class) > 0 {
			r.sent[class] = max(before, sent)
		}
	}
}

// Limit shortens the rights to the times that are about to be written into the node's key: other nodes count by those as soon
// as they are there. Longer times count only once they are proven. It reports whether a right has become shorter.
func (r *Rights) Limit(session, addressLease time.Duration) (shorter bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shorter = session < r.session || addressLease < r.addressLease
	r.session, r.addressLease = min(r.session, session), min(r.addressLease, addressLease)
	return shorter
}

// Duration is how long the right over a class lasts from a proof on, whether it has run out or not.
func (r *Rights) Duration(class allocator.Class) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.duration(class)
}

func (r *Rights) duration(class allocator.Class) time.Duration {
	if class == allocator.Stateful {
		return r.session
	}
	return r.addressLease
}

// Remaining is how long the right over a class lasts yet: 0 or less when it has run out, or was never proven.
func (r *Rights) Remaining(class allocator.Class) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remaining(class)
}

func (r *Rights) remaining(class allocator.Class) time.Duration {
	if !r.proven {
		return 0
	}
	return r.sent[class] + r.duration(class) - r.now()
}
