package host

import (
	"maps"

	"github.com/berth-ipam/berth/internal/lockorder"
)

// A path is the greatest packets that fit between nodes, in bytes: the values by whether they are tunnelled. 0: this node never had an
// address by which to know.
type path struct {
	mu    lockorder.Subject
	known map[bool]int
}

func (p *path) get(tunnelled bool) (mtu int, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mtu, known = p.known[tunnelled]
	return mtu, known
}

// begin keeps what was read where nothing is known. It never takes the place of what another has read meanwhile.
func (p *path) begin(now map[bool]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = now
	}
}

// learn keeps what was read, and reports whether another value was known before. Where this node has no address just now (0), the value
// that was known stays: an address that comes back mostly has the link that it had.
func (p *path) learn(now map[bool]int) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tunnelled, mtu := range p.known {
		if now[tunnelled] == 0 {
			now[tunnelled] = mtu
		}
	}
	changed = p.known != nil && !maps.Equal(p.known, now)
	p.known = now
	return changed
}
