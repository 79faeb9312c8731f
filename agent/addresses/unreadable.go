package addresses

import (
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// unreadable are the blocks whose record cannot be read, or is that of a block of another size. Their owner is unknown, so that
// no node claims them and nothing of them is published until the record is repaired. The owner itself goes on with what it knows.
type unreadable struct {
	unread map[ipam.Address]bool                      // by their first addresses
	parked map[ipam.Address]map[ipam.Address]struct{} // what to publish of each once it is repaired
	left   map[ipam.Address]time.Time                 // blocks whose keys were deleted, and since when
}

// leftTime is how long a block is avoided, while there are others, after its key was deleted: if that was done by hand, its owner
// restores it.
const leftTime = 5 * time.Second

// apply applies an update of the watch, under the blocks' lock, and returns the blocks that can be read again or are gone.
func (h *unreadable) apply(u kv.Update[record.Block]) (repaired []ipam.Address) {
	if u.Full || h.unread == nil {
		h.unread = map[ipam.Address]bool{}
	}
	for _, e := range u.Repaired {
		at := ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}
		delete(h.unread, at)
		repaired = append(repaired, at)
	}
	for _, e := range u.Bad {
		h.unread[ipam.Address{Pool: e.At.Pool, Addr: e.At.Address}] = true
	}
	if h.left == nil {
		h.left = map[ipam.Address]time.Time{}
	}
	for at, since := range h.left {
		if time.Since(since) > leftTime {
			delete(h.left, at)
		}
	}
	for _, b := range u.Set {
		at := ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}
		delete(h.left, at)
		if h.unread[at] { // found by a transaction, not by the watch
			delete(h.unread, at)
			repaired = append(repaired, at)
		}
	}
	for _, b := range u.Gone {
		h.left[ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}] = time.Now()
	}
	return repaired
}
