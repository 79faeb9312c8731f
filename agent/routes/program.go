package routes

import (
	"maps"
	"slices"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/netops"
)

func (k *Keeper) kernel() Kernel {
	lockorder.Calls(lockorder.Kernel)
	return k.Kernel
}

// program brings the kernel's routes to what is known, and reports whether that is all that they depend on.
func (k *Keeper) program() (known bool, err error) {
	k.setting.Lock()
	defer k.setting.Unlock()
	c := k.Config()
	if c.Revision == 0 {
		return false, nil // the pools are unknown
	}
	want := poolsOf(c)
	cidrs := cidrsOf(c)
	tunnel := netops.TunnelSpec(c.Settings.VXLAN.Whole())
	anew := !k.stands || tunnel != k.tunnel || !maps.EqualFunc(want, k.set, routed.equal) || !slices.Equal(cidrs, k.cidrs)
	todo, known := k.known.take(want, anew)
	if !known {
		return false, nil
	}
	var refused []netops.RefusedHop
	switch {
	case todo.whole && !anew && len(want) == 0: // there is nothing of ours that somebody could change
		return true, nil
	case todo.whole:
		k.set, k.cidrs, k.tunnel, k.missing = want, cidrs, tunnel, todo.missing
		todo.routing.Tunnel = tunnel
		todo.routing.Cluster = append(todo.routing.Cluster, cidrs...)
		refused, err = k.kernel().SetRouting(todo.routing)
		if k.Routed != nil {
			k.Routed()
		}
	case len(todo.hops) == 0:
		return true, nil
	default:
		for to := range todo.hops {
			delete(k.missing, to)
		}
		maps.Copy(k.missing, todo.missing)
		refused, err = k.kernel().ChangeHops(todo.hops)
	}
	k.stands = err == nil // else all of it is done again
	k.report(refused, err)
	return true, err
}
