package publish

import (
	"slices"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// orphans are the reservations that etcd attaches to this node and that the journal did not know at the watch's update: those of
// ADDs under way, and those that failed ADDs have left behind.
type orphans struct {
	mu  lockorder.Subject
	all map[ipam.Address]record.Reservation
}

// Apply applies an update of the watch. known reports whether the journal has the holder; it is called without a lock.
func (s *orphans) Apply(u kv.Update[record.Reservation], node string, known func(record.Reservation) bool) {
	unknown := slices.DeleteFunc(slices.Clone(u.Set), func(r record.Reservation) bool {
		return r.Holder == nil || r.Holder.Node != node || known(r)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.Full || s.all == nil {
		s.all = map[ipam.Address]record.Reservation{}
	}
	for _, r := range slices.Concat(u.Gone, u.Set) {
		delete(s.all, ipam.Address{Pool: r.Pool, Addr: r.Address})
	}
	for _, r := range unknown {
		s.all[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
	}
}

func (s *orphans) list() (all []record.Reservation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		all = append(all, r)
	}
	return all
}

// drop forgets an orphan, unless the watch has delivered a newer record of it.
func (s *orphans) drop(r record.Reservation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := ipam.Address{Pool: r.Pool, Addr: r.Address}
	if s.all[at].Revision == r.Revision {
		delete(s.all, at)
	}
}
