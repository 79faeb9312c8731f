package doctor

import (
	"fmt"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// compareReservations checks where each reservation lies, and who holds it.
func (c *comparison) compareReservations() {
	reported := map[string]bool{} // blocks
	for _, r := range c.Reservations {
		at := ipam.Address{Pool: r.Pool, Addr: r.Address}
		f := Finding{Key: c.Text(reservationKey(at)), mark: fmt.Sprint(r.Epoch)}
		if h := r.Holder; h != nil {
			f.Node, f.Container = h.Node, h.Attachment.String()
		}
		if pool, unreadable := c.pool(r.Pool); !unreadable && c.compareLying(f, r, pool, reported) {
			c.noteExcluded(f, pool, at)
		}
		if r.Holder != nil {
			c.compareHolder(f, r)
		}
	}
}

// compareLying checks that a reservation lies where its pool keeps addresses for reservations.
func (c *comparison) compareLying(f Finding, r record.Reservation, pool *allocator.Pool, reported map[string]bool) (sound bool) {
	f.mark = r.Identity.String()
	if pool == nil || !pool.Contains(r.Address) || !pool.InStateful(r.Address) {
		f.Kind, f.Cause = ReservationOutside, fmt.Sprintf("there is no pool %s", r.Pool)
		if pool != nil {
			f.Cause = fmt.Sprintf("%s lies in no stateful range of pool %s, which has %v", r.Address, r.Pool, pool.Stateful)
		}
		f.takes = true
		f.Repair = fmt.Sprintf("give the pool its stateful range back (berthctl apply), or end the member's containers and then berthctl "+
			"release %s --network %s --interface %s", r.Identity, r.Identity.Network, r.Identity.Interface)
		c.found(f)
		return false
	}
	b, there, hidden := c.blockOf(pool, r.Address)
	key := blockKey(r.Pool, pool.BlockOf(r.Address).Addr())
	if text := c.Text(key); !hidden && !reported[text] && (!there || !b.Stateful()) {
		reported[text] = true
		n := Finding{Kind: ReservationNoBlock, Key: text,
			Cause: fmt.Sprintf("%s and perhaps others are reserved there, and nobody owns the block", r.Address)}
		if there {
			n.Cause = fmt.Sprintf("%s and perhaps others are reserved there, and the block is %s", r.Address, owners(b))
			n.takes = true
			n.Repair = fmt.Sprintf("end the containers of node %s that have addresses of it: the node gives it back then", b.Parts[0].Owner)
		} else {
			n.repair = &admin.Repair{Same: []kv.Key{poolKey(r.Pool)}, Put: []admin.Record{asStateful(pool, r.Address)}}
		}
		c.found(n)
	}
	return true
}

// compareHolder checks that the holder of a reservation exists.
func (c *comparison) compareHolder(f Finding, r record.Reservation) {
	h := r.Holder
	switch {
	case c.gone(h.Node):
		f.takes = true
		f.Kind = ReservationUnknownNode
		f.Cause = fmt.Sprintf("%s is attached to a container of node %s, and %s", r.Identity, h.Node, c.absence(h.Node))
		if c.detachable(h.Node) {
			free := r
			free.Holder = nil
			key := reservationKey(ipam.Address{Pool: r.Pool, Addr: r.Address})
			f.repair = &admin.Repair{Same: guard(h.Node), Put: []admin.Record{{Key: key, Value: free}}}
		} else {
			f.Repair = removal(h.Node)
		}
	case !c.Live(h.Node):
		f.takes = true
		f.Kind, f.Cause = ReservationAwayNode, fmt.Sprintf("%s is attached to a container of node %s, which has no session; since when "+
			"is not known", r.Identity, h.Node)
		f.Repair = fmt.Sprintf("start the node's agent; or start the member elsewhere, and its address moves once the node's right has "+
			"run out; if the machine is gone for good: berthctl node remove %s", h.Node)
	case !c.complete(h.Node):
		return
	default:
		if has := c.holderOf(h.Node, ipam.Address{Pool: r.Pool, Addr: r.Address}); has != nil && has.Attachment == h.Attachment {
			return
		}
		f.Kind, f.Cause = ReservationNoContainer, fmt.Sprintf("%s is attached to a container that node %s does not have", r.Identity, h.Node)
		f.ask = []string{h.Node}
	}
	c.found(f)
}
