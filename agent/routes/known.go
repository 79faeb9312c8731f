package routes

import (
	"net/netip"
	"slices"
	"unique"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// A name is a node's. Many records have the same.
type name = unique.Handle[string]

// known is what etcd says of other nodes, and what of it the routes do not show yet.
type known struct {
	me string

	mu    lockorder.Subject
	told  [kinds]bool  // since the store's present incarnation began
	own   []netip.Addr // this node's addresses, as others know them
	read  bool         // this node's own record was
	hops  map[name][]netip.Addr
	pools map[string]*holdings

	ways    map[string]netops.Way // of the pools whose changes are kept
	changed map[spot]bool         // what may lead elsewhere by now
	whole   bool                  // anything may
}

// The kinds of records that are followed.
const (
	blocks = iota
	reservations
	nodes
	kinds
)

// A spot is a prefix of a pool, which other nodes' routes lead to as one.
type spot struct {
	pool string
	to   netip.Prefix
}

// holdings are what other nodes have of a pool.
type holdings struct {
	blocks  map[netip.Addr][]netip.Prefix // the parts of each block, by its first address
	parts   map[netip.Prefix]name
	holders map[netip.Addr]name // of reservations
}

func newKnown(me string) *known {
	return &known{me: me, hops: map[name][]netip.Addr{}, pools: map[string]*holdings{}, changed: map[spot]bool{}, whole: true}
}

func (w *known) of(pool string) *holdings {
	h := w.pools[pool]
	if h == nil {
		h = &holdings{map[netip.Addr][]netip.Prefix{}, map[netip.Prefix]name{}, map[netip.Addr]name{}}
		w.pools[pool] = h
	}
	return h
}

// reset is called when the store is another incarnation: what is known counts until all kinds were told anew.
func (w *known) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = [kinds]bool{}
}

// pending reports whether the routes do not show yet what is known.
func (w *known) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told == [kinds]bool{true, true, true} && (w.whole || len(w.changed) > 0)
}

// touchLocked keeps that a prefix may lead elsewhere.
func (w *known) touchLocked(pool string, to netip.Prefix) {
	if _, kept := w.ways[pool]; kept {
		w.changed[spot{pool, to}] = true
	}
}

func (w *known) applyBlocks(u kv.Update[record.Block]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full {
		w.told[blocks], w.whole = true, true
		stays := unreadable(u, kv.KindBlock)
		for pool, h := range w.pools {
			for first := range h.blocks {
				if !stays[at{pool, first}] {
					w.setBlockLocked(pool, first, nil)
				}
			}
		}
	}
	for _, b := range u.Gone {
		w.setBlockLocked(b.Pool, b.Prefix.Addr(), nil)
	}
	for _, b := range u.Set {
		w.setBlockLocked(b.Pool, b.Prefix.Addr(), b.Parts)
	}
}

func (w *known) setBlockLocked(pool string, first netip.Addr, parts []record.Part) {
	h := w.of(pool)
	for _, former := range h.blocks[first] {
		delete(h.parts, former)
		w.touchLocked(pool, former)
	}
	var theirs []netip.Prefix
	for _, p := range parts {
		switch p.Owner {
		case record.OwnerStateful, record.OwnerMachine, w.me, "":
			continue
		}
		theirs = append(theirs, p.Prefix)
		h.parts[p.Prefix] = unique.Make(p.Owner)
		w.touchLocked(pool, p.Prefix)
	}
	if theirs == nil {
		delete(h.blocks, first)
	} else {
		h.blocks[first] = theirs
	}
}

func (w *known) applyReservations(u kv.Update[record.Reservation]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full {
		w.told[reservations], w.whole = true, true
		stays := unreadable(u, kv.KindReservation)
		for pool, h := range w.pools {
			for a := range h.holders {
				if !stays[at{pool, a}] {
					w.setHolderLocked(pool, a, nil)
				}
			}
		}
	}
	for _, r := range u.Gone {
		w.setHolderLocked(r.Pool, r.Address, nil)
	}
	for _, r := range u.Set {
		w.setHolderLocked(r.Pool, r.Address, r.Holder)
	}
}

func (w *known) setHolderLocked(pool string, a netip.Addr, holder *record.Holder) {
	h := w.of(pool)
	_, had := h.holders[a]
	switch {
	case holder != nil && holder.Node != w.me:
		h.holders[a] = unique.Make(holder.Node)
	case had:
		delete(h.holders, a)
	default:
		return
	}
	w.touchLocked(pool, netip.PrefixFrom(a, a.BitLen()))
}

// applyNodes keeps where the nodes are. A node that was removed has left a tombstone; a record that is gone was lost by etcd.
func (w *known) applyNodes(u kv.Update[record.Node]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.Full {
		w.told[nodes], w.whole = true, true
	}
	for _, n := range u.Set {
		if n.Removed != nil {
			n.Hops = nil
		}
		w.setHopsLocked(unique.Make(n.Name), n.Hops)
	}
}

func (w *known) setHopsLocked(node name, hops []netip.Addr) {
	if node.Value() == w.me {
		w.whole, w.own, w.read = w.whole || !w.read || !slices.Equal(w.own, hops), hops, true
		return
	}
	if slices.Equal(w.hops[node], hops) {
		return
	}
	if w.hops[node] = hops; len(hops) == 0 {
		delete(w.hops, node)
	}
	w.whole = true // also what keeps its address on its way there
}

// nodeOf is the node that has what a prefix stands for, if another has it. A reservation counts before the block around it.
func (h *holdings) nodeOf(to netip.Prefix) (node name, is bool) {
	if to.IsSingleIP() {
		if node, is = h.holders[to.Addr()]; is {
			return node, true
		}
	}
	node, is = h.parts[to]
	return node, is
}

// hopOf is how a node is reached for a prefix; invalid: it has said no address that fits. Directly an address of the prefix's family
// fits, and a tunnel begins and ends at one of either.
func (w *known) hopOf(node name, to netip.Prefix, way netops.Way) netops.Hop {
	is4, hops := to.Addr().Is4(), w.hops[node]
	if way == netops.Direct {
		if at := slices.IndexFunc(hops, func(a netip.Addr) bool { return a.Is4() == is4 }); at >= 0 {
			return netops.Hop{Via: hops[at]}
		}
		return netops.Hop{}
	}
	via := netops.Towards(is4, hops, w.own)
	if via.IsValid() && via.Is4() != is4 {
		way = netops.Tunnel
	}
	return netops.Hop{Via: via, Way: way}
}

// An at is the pool and the address that a key has.
type at struct {
	pool string
	addr netip.Addr
}

// unreadable are the records of an update that cannot be read.
func unreadable[T any](u kv.Update[T], kind kv.Kind) map[at]bool {
	all := map[at]bool{}
	for _, e := range u.Bad {
		if e.At.Kind == kind {
			all[at{e.At.Pool, e.At.Address}] = true
		}
	}
	return all
}
