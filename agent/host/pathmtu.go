package host

import (
	"fmt"

	"github.com/berth-ipam/berth/allocator"
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

// tunnelled reports whether packets of a pool's containers may go through a tunnel, which takes some of each.
func tunnelled(pool *allocator.Pool) bool {
	return pool.Mode == allocator.VXLAN || pool.Mode == allocator.Auto
}

// Fitted is a pool with the MTU that its containers get on this node: where the pool names none, and they are behind their nodes, what
// fits between nodes. What was read last counts; it is read here where it never was. On a node that never had an address, by which no
// node reaches another, the MTU stays 0.
func (k *Keeper) Fitted(pool *allocator.Pool) (*allocator.Pool, error) {
	if !pool.Layer3() || pool.MTU != 0 {
		return pool, nil
	}
	mtu, known := k.path.get(tunnelled(pool))
	if !known {
		now, err := k.readPath()
		if err != nil {
			return nil, err
		}
		k.path.begin(now)
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

// readPath reads what fits between nodes.
func (k *Keeper) readPath() (now map[bool]int, err error) {
	now = map[bool]int{}
	for _, tunnelled := range [...]bool{false, true} {
		if now[tunnelled], err = k.kernel().PathMTU(tunnelled); err != nil {
			return nil, err
		}
	}
	return now, nil
}

// lookAtPath reads what fits between nodes, has running containers follow where it has changed, and compares it with what pools ask for.
// After an error all stays as it was.
func (k *Keeper) lookAtPath() {
	c := k.Config()
	if c.Revision == 0 {
		return // the pools are unknown
	}
	if anyLayer3(c) {
		now, err := k.readPath()
		if err != nil {
			k.Findings.Set(pathUnknown, "host", err.Error(), "see the cause; it is tried again every minute, and until then containers keep the "+
				"MTU that they have")
			return
		}
		if k.path.learn(now) && k.PathChanged != nil {
			k.PathChanged()
		}
	}
	k.Findings.Clear(pathUnknown, "host")
	k.reportPath(c)
}

// reportPath sets and clears the findings about pools whose packets do not fit between nodes.
func (k *Keeper) reportPath(c *config.Config) {
	var large, small []string
	for name, pool := range c.Pools {
		most, _ := k.path.get(tunnelled(&pool))
		if !pool.Layer3() || most == 0 {
			continue
		}
		switch _, err := k.Fitted(&pool); {
		case err != nil:
			small = append(small, name)
			k.Findings.Set(pathTooSmall, name, err.Error(), "raise the MTU of the interface with this node's address, or take IPv6 out of the pool")
		case pool.MTU > most:
			large = append(large, name)
			k.Findings.Set(mtuTooLarge, name, fmt.Sprintf("pool %q has mtu %d, and only %d fits between nodes in mode %s: larger packets are "+
				"lost or fragmented", name, pool.MTU, most, pool.Mode), "leave mtu out of the pool, or raise the MTU of the nodes' network")
		}
	}
	k.Findings.Keep(mtuTooLarge, large...)
	k.Findings.Keep(pathTooSmall, small...)
}

func anyLayer3(c *config.Config) bool {
	for _, pool := range c.Pools {
		if pool.Layer3() {
			return true
		}
	}
	return false
}
