package session

import (
	"time"

	"github.com/berth-ipam/berth/lease/kv"
)

// A Store is who is alive: nodes and their sessions, and the etcd whose state this is.
type Store struct {
	kv      *kv.Client
	Now     func() time.Duration // the time since boot
	deleted deletions
	anew    func(ClusterState) // called when another life of etcd's has begun; nil: nobody wants to know
}

// New counts rights by now, the time since boot, CLOCK_BOOTTIME; nil: the machine's.
func New(kv *kv.Client, now func() time.Duration) *Store {
	if now == nil {
		now = Boottime
	}
	return &Store{kv: kv, Now: now}
}
