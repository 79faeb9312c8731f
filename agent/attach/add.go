package attach

import (
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

// An Attacher gives containers their addresses and wires them.
type Attacher struct {
	Parts
	detacher *Detacher
}

// NewAttacher makes a node's attacher. The detacher undoes what its ADDs cannot finish.
func NewAttacher(p Parts, d *Detacher) *Attacher { return &Attacher{Parts: p, detacher: d} }

// An insertion is one container of a set on its way to an answer. undo undoes as much of it as was done.
//
// A repeated ADD of an answered attachment has a former entry. It takes the same steps, under the same right and session, and its
// answer begins a new attachment: an older DEL or older evidence does not apply to it. Only its addresses are already there, and
// a failure leaves the former entry as it was.
type insertion struct {
	*target
	pool     *allocator.Pool
	config   *config.Config
	former   *journal.Entry
	grants   []allocator.Grant
	reserved *journal.Entry // class, addresses and epoch, once this ADD has attached its reservation
	entry    *journal.Entry
	held     bool // the journal has Entry
	wired    bool // the kernel may have its port
	done     bool // the journal has the answer
	attached attached
}

// owns is the class whose right the add needs.
func (add *insertion) owns() allocator.Class {
	if add.former != nil {
		return add.former.Class
	}
	return add.class
}

// reserves reports whether the add needs to attach its reservation: it is new, or was isolated and may get the reservation back.
func (add *insertion) reserves() bool {
	return add.owns() == allocator.Stateful && (add.former == nil || add.former.Isolated != nil)
}

// attached is what the kernel has made for an add.
type attached struct {
	mac, hostMAC, bridgeMAC string
	mtu                     int
	namespaceID             int // the kernel's, plus one; 0: none
	inode                   uint64
}
