package addresses

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
)

// exhaustedFor is how long a pool counts as exhausted after an ADD has waited for it in vain.
const exhaustedFor = time.Minute

// exhausted is when an ADD last timed out waiting for an address of a pool.
type exhausted struct {
	mu   lockorder.Subject
	last map[string]allocator.Instant
}

func (v *exhausted) note(pool string, now allocator.Instant) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		v.last = map[string]allocator.Instant{}
	}
	v.last[pool] = now
}

// Lately reports whether that was less than exhaustedFor ago.
func (v *exhausted) Lately(pool string, now allocator.Instant) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, ever := v.last[pool]
	return ever && now < at+exhaustedFor
}

// ended clears a pool: an ADD has got an address of it, or this node has one for the next.
func (v *exhausted) ended(pool string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.last, pool)
}
