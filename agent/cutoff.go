package agent

import (
	"sync/atomic"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator/ipam"
)

func await(waiting map[ipam.Address]bool, e *journal.Entry) {
	for _, addr := range e.Addresses {
		waiting[ipam.Address{Pool: e.Pool, Addr: addr}] = true
	}
}

// cutOff are the addresses of containers that are cut until etcd names them.
type cutOff struct {
	atomic.Pointer[map[ipam.Address]bool]
}

// any reports whether one of them is among those that f picks.
func (c *cutOff) any(f func(ipam.Address) bool) bool {
	all := c.Load()
	if all == nil {
		return false
	}
	for at := range *all {
		if f(at) {
			return true
		}
	}
	return false
}

const (
	findingCut    = "container-cut"
	cutAdvice     = "nothing, where etcd gets the record again: the container passes then; else delete it"
	findingUnread = "port-unread"
)
