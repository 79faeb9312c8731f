package isolation

import (
	"fmt"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
)

// unsure are the attachments whose ownership settling could not determine: the record is unreadable, and etcd's history does not
// have its former value. In strict mode their ports stay closed until the record is repaired; in evidence mode they go on.
type unsure struct {
	mu  lockorder.Subject
	all map[allocator.Attachment]error
}

func (u *unsure) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = nil
}

func (u *unsure) Add(at allocator.Attachment, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[allocator.Attachment]error{}
	}
	u.all[at] = why
}

func (u *unsure) why(at allocator.Attachment) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all[at]
}

func (u *unsure) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.all)
}

// SettleUnsure has the node settle again when a record was repaired and attachments wait for one.
func (i *Isolator) SettleUnsure(repaired bool) {
	if repaired && i.Unsure.len() > 0 {
		i.Reassert.Raise()
	}
}

// HoldBack keeps the port of an attachment of unknown ownership closed in strict mode, and returns why; nil: the port may open.
func (i *Isolator) HoldBack(e *journal.Entry) error {
	why := i.Unsure.why(e.Attachment)
	if why == nil || !i.Strict() || e.Answered == 0 || e.Wiring.Port == "" {
		return nil
	}
	i.Cut(e)
	i.Findings.Set(findingCut, e.Attachment.String(),
		fmt.Sprintf("its port %s stays cut until the record of its address can be read: %v", e.Wiring.Port, why), unsureAdvice)
	return why
}

const unsureAdvice = "repair the record as berthctl doctor says: the container passes then; else delete it"
