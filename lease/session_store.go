package lease

import "time"

// A sessionStore is who is alive: nodes and their sessions, and the etcd whose state this is.
type sessionStore struct {
	kv      *Client
	now     func() time.Duration // the time since boot
	deleted deletions
	anew    func(Standing) // called when another life of etcd's has begun; nil: nobody wants to know
}

// newSessionStore counts rights by now, the time since boot, CLOCK_BOOTTIME; nil: the machine's.
func newSessionStore(kv *Client, now func() time.Duration) *sessionStore {
	if now == nil {
		now = boottime
	}
	return &sessionStore{kv: kv, now: now}
}
