package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// compareIdentities compares the records of identities with their reservations.
func (c *comparison) compareIdentities() {
	own := c.reservationsOf()
	for id, record := range c.Identities {
		c.compareIdentity(id, record, own[id])
	}
	for id, all := range own {
		key := identityKey(id)
		if _, there := c.Identities[id]; there || c.bad[c.Text(key)] {
			continue
		}
		f := Finding{
			Kind: ReservationNoIdentity, Key: c.Text(key), mark: addresses(all),
			Cause: fmt.Sprintf("%s has %s, and no record tells it", id, addresses(all)),
		}
		record, same, whole := c.identityBy(all)
		if whole {
			f.repair = &admin.Repair{Same: same, Put: []admin.Record{{Key: key, Value: record}}}
		} else {
			f.Kind, f.Cause = ReservationSecond, fmt.Sprintf("%s has several addresses of one family: %s", id, addresses(all))
			f.takes, f.Repair = true, c.deleteOthers(all)
		}
		c.found(f)
	}
}

// reservationsOf are the reservations of each identity.
func (v *view) reservationsOf() map[allocator.Identity][]record.Reservation {
	own := map[allocator.Identity][]record.Reservation{}
	for _, r := range v.Reservations {
		own[r.Identity] = append(own[r.Identity], r)
	}
	return own
}

// identityBy is the record that an identity's reservations make, and the keys that say so. It is not whole where they
// lie in several pools, or two in one family.
func (v *view) identityBy(all []record.Reservation) (record record.IdentityRecord, same []kv.Key, whole bool) {
	families := map[allocator.Family]bool{}
	whole = len(all) > 0
	for _, r := range all {
		f := allocator.FamilyOf(r.Address)
		whole = whole && !families[f] && r.Pool == all[0].Pool
		families[f] = true
		record.Pool, record.Addresses = r.Pool, append(record.Addresses, r.Address)
		same = append(same, reservationKey(ipam.Address{Pool: r.Pool, Addr: r.Address}))
	}
	slices.SortFunc(record.Addresses, netip.Addr.Compare)
	return record, same, whole
}

// deleteOthers says which of an identity's reservations can go, where it has too many: none that a container has.
func (v *view) deleteOthers(all []record.Reservation) string {
	var idle []string
	for _, r := range all {
		if at := (ipam.Address{Pool: r.Pool, Addr: r.Address}); r.Holder == nil && len(v.held[at]) == 0 && v.allComplete() {
			idle = append(idle, deleteKey(v.Text(reservationKey(at))))
		}
	}
	switch {
	case len(idle) == 0:
		return "containers have them, or not every node has said what it holds: end the one that is not the member's own, and look again"
	case len(idle) == len(all):
		idle = idle[1:]
	}
	return "no container has these, and the member needs one of each family: decide which it keeps, and of the others " +
		strings.Join(idle, "; ")
}

func (c *comparison) compareIdentity(id allocator.Identity, record record.IdentityRecord, own []record.Reservation) {
	key := identityKey(id)
	f := Finding{Key: c.Text(key), mark: fmt.Sprint(record.Addresses)}
	var missing []ipam.Address
	for _, addr := range record.Addresses {
		at := ipam.Address{Pool: record.Pool, Addr: addr}
		r, there := c.reservations[at]
		switch {
		case there && r.Identity != id:
			c.pointsElsewhere(f, id, r, own)
			return
		case !there && !c.bad[c.Text(reservationKey(at))]:
			missing = append(missing, at)
		}
	}
	if len(missing) > 0 {
		f.Kind = IdentityNoReservation
		f.Cause = fmt.Sprintf("%s has %v by its record, and %s is not reserved", id, record.Addresses, missing[0].Addr)
		var why string
		if f.repair, why = c.reserveAgain(id, missing); f.repair == nil {
			if f.takes = !c.mayRun(id); f.takes {
				f.Repair = fmt.Sprintf("%s; no container of the member runs, so you can give the address up: %s", why, deleteKey(f.Key))
			} else {
				f.Repair = fmt.Sprintf("%s: start the agents that are away, and look again", why)
			}
		}
		c.found(f)
	}
	for _, r := range own {
		if r.Pool == record.Pool && slices.Contains(record.Addresses, r.Address) {
			continue
		}
		at := ipam.Address{Pool: r.Pool, Addr: r.Address}
		f := Finding{Kind: ReservationSecond, Key: c.Text(reservationKey(at)),
			Cause: fmt.Sprintf("%s has %v by its record, and this besides", id, record.Addresses), mark: fmt.Sprint(r.Revision)}
		if r.Holder == nil {
			f.takes, f.repair = true, &admin.Repair{Same: []kv.Key{key}, Delete: []string{f.Key}}
			if c.mayRun(id) {
				f.repair, f.Repair = nil, fmt.Sprintf("a container of the member may have it, or not every node has said what it holds: look "+
					"again when all answer; if none has it: %s", deleteKey(f.Key))
			}
		} else {
			f.takes = true
			f.Node, f.Container = r.Holder.Node, r.Holder.Attachment.String()
			f.Repair = fmt.Sprintf("a container has it: end that, then %s", deleteKey(f.Key))
		}
		c.found(f)
	}
}

// pointsElsewhere is of an identity whose address is another's: what it has itself counts, or nothing.
func (c *comparison) pointsElsewhere(f Finding, id allocator.Identity, r record.Reservation, own []record.Reservation) {
	f.takes = true
	f.Kind, f.Cause = IdentityElsewhere, fmt.Sprintf("%s has %s by its record, which is reserved for %s", id, r.Address, r.Identity)
	record, same, whole := c.identityBy(own)
	same = append(same, reservationKey(ipam.Address{Pool: r.Pool, Addr: r.Address}))
	switch {
	case whole:
		f.repair = &admin.Repair{Same: same, Put: []admin.Record{{Key: identityKey(id), Value: record}}}
	case len(own) == 0:
		f.repair = &admin.Repair{Same: same, Delete: []string{f.Key}}
	default:
		f.Repair = c.deleteOthers(own) + ", and then " + deleteKey(f.Key)
	}
	c.found(f)
}

// reserveAgain restores reservations that an identity's record names, if nobody else can have the addresses:
// attached to the container that has them, or to nobody. Where it cannot it says why.
func (v *view) reserveAgain(id allocator.Identity, missing []ipam.Address) (*admin.Repair, string) {
	if !v.allComplete() {
		return nil, "not every node has said what it holds"
	}
	repair := &admin.Repair{Same: []kv.Key{identityKey(id), poolKey(missing[0].Pool)}}
	blocks := map[string]bool{}
	for _, at := range missing {
		pool, _ := v.pool(at.Pool)
		if pool == nil || !pool.InStateful(at.Addr) {
			return nil, fmt.Sprintf("%s lies in no stateful range", at.Addr)
		}
		b, there, hidden := v.blockOf(pool, at.Addr)
		if key := blockKey(at.Pool, pool.BlockOf(at.Addr).Addr()); there {
			repair.Same = append(repair.Same, key)
		} else if !blocks[v.Text(key)] {
			blocks[v.Text(key)] = true
			repair.Put = append(repair.Put, asStateful(pool, at.Addr))
		}
		if hidden || there && !b.Stateful() || v.Has(assignmentKey(at)) {
			return nil, fmt.Sprintf("%s may be somebody else's", at.Addr)
		}
		r := record.Reservation{Identity: id, Since: v.now, Epoch: v.Revision} // greater than any that was before
		switch has := v.held[at]; {
		case len(has) > 1, len(has) == 1 && has[0].Identity() != id:
			return nil, fmt.Sprintf("%s is another container's", at.Addr)
		case len(has) == 1:
			r.Since, r.Epoch = has[0].Since, has[0].Epoch
			r.Holder = &record.Holder{Attachment: has[0].Attachment, Node: has[0].node, Since: has[0].Since}
			repair.Same = append(repair.Same, guard(has[0].node)...)
		}
		repair.Same = append(repair.Same, assignmentKey(at))
		repair.Put = append(repair.Put, admin.Record{Key: reservationKey(at), Value: r})
	}
	return repair, ""
}

func addresses(all []record.Reservation) string {
	var list []netip.Addr
	for _, r := range all {
		list = append(list, r.Address)
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return fmt.Sprint(list)
}
