package agent

import (
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// vainFor is how long an ADD that has waited in vain speaks for its pool.
const vainFor = time.Minute

// vain is when an ADD last waited its whole time for an address of a pool, and there was none.
type vain struct {
	mu   sync.Mutex
	last map[string]allocator.Instant
}

func (v *vain) note(pool string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last == nil {
		v.last = map[string]allocator.Instant{}
	}
	v.last[pool] = wire.Boottime()
}

func (v *vain) lately(pool string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, ever := v.last[pool]
	return ever && wire.Boottime() < at+vainFor
}

// ended says that an ADD has got an address of a pool, or that this node has one for the next.
func (v *vain) ended(pool string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.last, pool)
}
