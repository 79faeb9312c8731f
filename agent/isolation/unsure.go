package isolation

import (
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
