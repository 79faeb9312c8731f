package apart

import (
	"net/netip"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A block is one's place in etcd.
type block struct {
	pool  string
	first netip.Addr
}

// known are the addresses that the nodes themselves have, by the blocks that say so.
type known struct {
	mu       lockorder.Subject
	told     bool // since the store's present incarnation began
	machines map[block][]netip.Prefix
}

// apply reports whether the machines' addresses may have changed.
func (w *known) apply(u kv.Update[record.Block]) (news bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full {
		news, w.told = true, true
		unread := map[block]bool{}
		for _, e := range u.Bad {
			if e.At.Kind == kv.KindBlock {
				unread[block{e.At.Pool, e.At.Address}] = true
			}
		}
		for b := range w.machines {
			if !unread[b] {
				delete(w.machines, b)
			}
		}
	}
	for _, b := range u.Gone {
		news = w.setLocked(b, nil) || news
	}
	for _, b := range u.Set {
		news = w.setLocked(b, b.Machines()) || news
	}
	return news
}

func (w *known) setLocked(b record.Block, machines []record.Part) (news bool) {
	at := block{b.Pool, b.Prefix.Addr()}
	news = len(w.machines[at])+len(machines) > 0
	delete(w.machines, at)
	for _, p := range machines {
		w.machines[at] = append(w.machines[at], p.Prefix)
	}
	return news
}

// reset is called when the store is another incarnation.
func (w *known) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = false
}

// all are the machines' addresses; not told: they are unknown.
func (w *known) all() (machines []netip.Prefix, told bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, some := range w.machines {
		machines = append(machines, some...)
	}
	return machines, w.told
}
