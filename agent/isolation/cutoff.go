package isolation

import (
	"fmt"
	"sync/atomic"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator/ipam"
)

// findingCut is the kind of the finding that a container's port is cut because etcd does not record its address.
const findingCut = "container-cut"

// cutOff are the addresses of containers whose ports are cut until etcd records them.
type cutOff struct {
	atomic.Pointer[map[ipam.Address]bool]
}

// ReportCut sets the finding that an entry's port is cut and that etcd does not record the container.
func (i *Isolator) ReportCut(e *journal.Entry) {
	i.Findings.Set(findingCut, e.Attachment.String(),
		fmt.Sprintf("its port %s is cut, and etcd does not say that %s is its", e.Wiring.Port, e.AddressList()),
		"nothing, where etcd gets the record again: the container passes then; else delete it")
}

// AwaitRecords replaces the entries that wait for a record in etcd, and the findings about them by those of reported.
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

// ClearCut clears the finding about an entry that has been released.
func (i *Isolator) ClearCut(e *journal.Entry) { i.Findings.Clear(findingCut, e.Attachment.String()) }

// Awaits reports whether a container that is cut until etcd records it has an address that f picks.
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
