package isolation

import (
	"fmt"
	"sync/atomic"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator/ipam"
)

// findingCut is the kind of the finding that a container's port stays cut, since etcd does not say that its address is its own.
const findingCut = "container-cut"

// cutOff are the addresses of containers that are cut until etcd names them.
type cutOff struct {
	atomic.Pointer[map[ipam.Address]bool]
}

// ReportCut tells that an entry's port is cut, and that etcd does not name the container.
func (i *Isolator) ReportCut(e *journal.Entry) {
	i.Findings.Set(findingCut, e.Attachment.String(),
		fmt.Sprintf("its port %s is cut, and etcd does not say that %s is its", e.Wiring.Port, e.AddressList()),
		"nothing, where etcd gets the record again: the container passes then; else delete it")
}

// AwaitRecords ends a settling: entries wait until etcd names them, and of those of told a finding stands.
func (i *Isolator) AwaitRecords(entries, reported []*journal.Entry) {
	waiting := map[ipam.Address]bool{}
	for _, e := range entries {
		for _, addr := range e.Addresses {
			waiting[ipam.Address{Pool: e.Pool, Addr: addr}] = true
		}
	}
	i.cutOff.Store(&waiting)
	var names []string
	for _, e := range reported {
		names = append(names, e.Attachment.String())
	}
	i.Findings.Keep(findingCut, names...)
}

// ClearCut ends what is told of an entry that has been released.
func (i *Isolator) ClearCut(e *journal.Entry) { i.Findings.Clear(findingCut, e.Attachment.String()) }

// Awaits reports whether a container is cut until etcd names it that has an address which f picks.
func (i *Isolator) Awaits(f func(ipam.Address) bool) bool {
	if all := i.cutOff.Load(); all != nil {
		for at := range *all {
			if f(at) {
				return true
			}
		}
	}
	return false
}
