package member

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/session"
)

// A recovery is the time that all nodes get to assert what they hold after etcd was restored.
type recovery struct {
	mu          lockorder.Subject
	cluster     string
	incarnation int64
	Began       time.Time                         // by CLOCK_MONOTONIC
	Longest     map[allocator.Class]time.Duration // the longest right that any node may have or have had
}

// left is how long the recovery still lasts. It begins with the first handshake with an incarnation of the store. rights are the
// longest that are known now; the longest ever seen count, because etcd may have lost records of longer ones than it has
// regained. Without a configuration no node can assert anything, and without any right known nobody can say how long it is: then the
// time has not begun.
func (r *recovery) left(s session.ClusterState, rights map[allocator.Class]time.Duration,
	configured bool) (left time.Duration, begun bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cluster != s.Cluster || r.incarnation != s.Incarnation {
		r.cluster, r.incarnation, r.Longest = s.Cluster, s.Incarnation, map[allocator.Class]time.Duration{}
		r.Began = time.Now()
	}
	all := time.Duration(0)
	for class, right := range rights {
		r.Longest[class] = max(r.Longest[class], right)
		all = max(all, r.Longest[class])
	}
	if begun = configured && all > 0; !begun {
		r.Began = time.Now()
	}
	return ipam.WaitOut(all) - time.Since(r.Began), begun
}

// over reports whether every right over a class that was given before the recovery has run out. Of a class of which no right is known
// it is not.
func (r *recovery) over(class allocator.Class) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Longest[class] > 0 && time.Since(r.Began) > ipam.WaitOut(r.Longest[class])
}
