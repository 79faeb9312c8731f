package doctor

import (
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
)

// compareAssignments finds the first thing that is wrong with each assignment. What follows from that is not reported.
func (c *comparison) compareAssignments() {
	for _, a := range c.Assignments {
		c.compareAssignment(a)
	}
}

func (c *comparison) compareAssignment(a record.Assignment) {
	at := ipam.Address{Pool: a.Pool, Addr: a.Address}
	key := c.Text(assignmentKey(at))
	f := Finding{Key: key, Node: a.Node, Container: a.Attachment.String(), mark: fmt.Sprint(c.Revisions(key))}
	pool, unreadable := c.pool(a.Pool)
	_, answered := c.answers[a.Node]
	h := c.holderOf(a.Node, at)
	switch {
	case unreadable:
		return
	case pool == nil || !pool.Contains(a.Address):
		f.Kind, f.Cause = AssignmentOutsidePool, fmt.Sprintf("there is no pool %s", a.Pool)
		if pool != nil {
			f.Cause = fmt.Sprintf("%s is not in pool %s, which has %v", a.Address, a.Pool, pool.CIDRs)
		}
		f.repair = c.unassign(a)
	case c.Has(reservationKey(at)):
		f.Kind, f.Cause = AssignmentReserved, fmt.Sprintf("%s has a reservation, too", a.Address)
		f.repair = c.unassign(a)
	case c.gone(a.Node):
		f.Kind, f.Cause = AssignmentUnknownNode, c.absence(a.Node)
		f.repair = c.unassign(a)
	case !answered || !c.complete(a.Node) && h == nil:
		return // that the node has not answered, or not with all, is a finding of its own
	case h == nil:
		f.Kind, f.Cause = AssignmentNoContainer, fmt.Sprintf("node %s has no container with %s", a.Node, a.Address)
		f.repair = c.unassign(a)
	case h.Attachment != a.Attachment:
		f.Kind, f.Cause = AssignmentNoContainer, fmt.Sprintf("node %s has given %s to %s", a.Node, a.Address, h.Attachment)
		f.ask = []string{a.Node}
	default:
		c.compareAssigned(f, a, pool)
		return
	}
	if f.repair == nil && len(f.ask) == 0 {
		f.takes, f.Repair = true, fmt.Sprintf("end the container: on node %s, berthctl delete %s", a.Node, a.Attachment)
	}
	c.found(f)
}

// compareAssigned checks the block of an address that a container really has.
func (c *comparison) compareAssigned(f Finding, a record.Assignment, pool *allocator.Pool) {
	at := ipam.Address{Pool: a.Pool, Addr: a.Address}
	b, there, hidden := c.blockOf(pool, a.Address)
	// A part that the node uses and etcd does not record is reported once, not for each address.
	if owner := b.OwnerOf(a.Address); !hidden && owner != a.Node && !c.owns(a.Node, at) && c.holderOf(a.Node, at).Isolated == "" {
		f.Kind, f.Cause = AssignmentNoPart, fmt.Sprintf("%s lies in no part of node %s", a.Address, a.Node)
		if there && owner != "" {
			f.Cause += fmt.Sprintf(": it is %s's", owner)
		}
		f.ask = []string{a.Node}
		c.found(f)
		return
	}
	c.noteExcluded(f, pool, at)
}

// noteExcluded notes an address in use that is not to be given out any more.
func (c *comparison) noteExcluded(f Finding, pool *allocator.Pool, at ipam.Address) {
	if pool.Usable(at.Addr) {
		return
	}
	f.Kind, f.Note = AddressExcluded, true
	f.Cause = fmt.Sprintf("%s is excluded, the gateway's, or the network's own: nobody gets it anew", at.Addr)
	f.Repair = "nothing, or end the container"
	c.found(f)
}

// unassign deletes an assignment that nobody has need of: its node is gone, or says that it has no such container. Nil:
// nobody can tell.
func (v *view) unassign(a record.Assignment) *admin.Repair {
	at := ipam.Address{Pool: a.Pool, Addr: a.Address}
	switch h := v.holderOf(a.Node, at); {
	case v.gone(a.Node):
	case h != nil && h.Attachment == a.Attachment, h == nil && !v.complete(a.Node):
		return nil
	}
	return &admin.Repair{Same: append(guard(a.Node), reservationKey(at)), Delete: []string{v.Text(assignmentKey(at))}}
}

// twice are those that have an address and are not isolated, where they are several.
func twice(all []holder) []holder {
	all = slices.DeleteFunc(slices.Clone(all), func(h holder) bool { return h.Isolated != "" })
	if len(all) < 2 {
		return nil
	}
	return all
}
