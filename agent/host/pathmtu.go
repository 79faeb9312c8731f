package host

import (
	"fmt"
	"maps"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/config"
)

// The kinds of findings about what fits between nodes.
const (
	pathUnknown  = "path-mtu-unknown"
	mtuTooLarge  = "mtu-too-large"
	pathTooSmall = "path-mtu-too-small"
)

// leastV6 is the least MTU of a link that IPv6 runs on, in bytes (RFC 8200, section 5).
const leastV6 = 1280

// A path is the greatest packets that fit between nodes as they were last read: the values by whether they are tunnelled.
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

// set reports whether another value was known before.
func (p *path) set(now map[bool]int) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed = p.known != nil && !maps.Equal(p.known, now)
	p.known = now
	return changed
}

// tunnelled reports whether packets of a pool's containers may go through a tunnel, which takes some of each.
func tunnelled(pool *allocator.Pool) bool {
	return pool.Mode == allocator.VXLAN || pool.Mode == allocator.Auto
}

// Fitted is a pool with the MTU that its containers get on this node: where the pool names none, and they are behind their nodes, what
// fits between nodes. What was read last counts; it is read here where it never was. Without an address of this node, by which no node
// reaches another, the MTU stays 0.
func (k *Keeper) Fitted(pool *allocator.Pool) (*allocator.Pool, error) {
	if !pool.Layer3() || pool.MTU != 0 {
		return pool, nil
	}
	mtu, known := k.path.get(tunnelled(pool))
	if !known {
		if err := k.readPath(); err != nil {
			return nil, err
		}
		mtu, _ = k.path.get(tunnelled(pool))
	}
	if mtu != 0 && mtu < leastV6 && pool.Has(allocator.V6) {
		return nil, fmt.Errorf("pool %q has IPv6, which takes an MTU of %d, and only %d fits between nodes in mode %s: want a greater MTU on "+
			"this node's network, or a pool without IPv6", pool.Name, leastV6, mtu, pool.Mode)
	}
	fitted := *pool
	fitted.MTU = mtu
	return &fitted, nil
}

// readPath reads what fits between nodes. Where it has changed, running containers follow. What was known stays after an error.
func (k *Keeper) readPath() error {
	now := map[bool]int{}
	for _, tunnelled := range [...]bool{false, true} {
		mtu, err := k.kernel().PathMTU(tunnelled)
		if err != nil {
			return err
		}
		now[tunnelled] = mtu
	}
	if k.path.set(now) && k.PathChanged != nil {
		k.PathChanged()
	}
	return nil
}

// lookAtPath compares what fits between nodes with what pools ask for.
func (k *Keeper) lookAtPath(c *config.Config) {
	var large, small []string
	defer func() {
		k.Findings.Keep(mtuTooLarge, large...)
		k.Findings.Keep(pathTooSmall, small...)
	}()
	if !anyLayer3(c) {
		k.Findings.Clear(pathUnknown, "host")
		return
	}
	if err := k.readPath(); err != nil {
		k.Findings.Set(pathUnknown, "host", err.Error(), "see the cause; it is tried again every minute, and until then containers keep the MTU "+
			"that they have")
		return
	}
	k.Findings.Clear(pathUnknown, "host")
	for name, pool := range c.Pools {
		most, _ := k.path.get(tunnelled(&pool))
		switch _, err := k.Fitted(&pool); {
		case !pool.Layer3() || most == 0:
		case err != nil:
			small = append(small, name)
			k.Findings.Set(pathTooSmall, name, err.Error(), "raise the MTU of the interface with this node's address, or take IPv6 out of the pool")
		case pool.MTU > most:
			large = append(large, name)
			k.Findings.Set(mtuTooLarge, name, fmt.Sprintf("pool %q has mtu %d, and only %d fits between nodes in mode %s: larger packets are "+
				"lost or fragmented", name, pool.MTU, most, pool.Mode), "leave mtu out of the pool, or raise the MTU of the nodes' network")
		}
	}
}

func anyLayer3(c *config.Config) bool {
	for _, pool := range c.Pools {
		if pool.Layer3() {
			return true
		}
	}
	return false
}
