package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
)

// compareJournals checks that etcd has each container that a node has.
func (c *comparison) compareJournals() {
	for name, answer := range c.answers {
		for i := range answer.Attachments {
			if h := (holder{name, &answer.Attachments[i]}); h.Answered {
				c.compareAttachment(h)
			}
		}
		for _, note := range answer.Notes {
			c.found(Finding{
				Kind: NoteUnreadable, Node: name, Cause: fmt.Sprintf("%s: %s", note.Path, note.Reason), mark: note.Path,
				Repair: fmt.Sprintf("on node %s, see %s: it is a DEL that met no agent; if its container is gone, berthctl delete it, then rm %s",
					name, quoted(note.Path), quoted(note.Path)),
			})
		}
	}
	c.compareTwice()
}

func (c *comparison) compareAttachment(h holder) {
	f := Finding{Node: h.node, Container: h.Attachment.String(), mark: h.Since.String()}
	if h.Isolated != "" {
		f.Kind, f.Cause = ContainerIsolated, fmt.Sprintf("its port is cut: %s", h.Isolated)
		f.takes = true
		f.Repair = fmt.Sprintf("have its runtime make it anew, or on node %s: berthctl delete %s", h.node, h.Attachment)
		c.found(f)
		return
	}
	if h.Class == allocator.Stateful {
		c.compareMember(f, h)
		return
	}
	for _, addr := range h.Addresses {
		at := ipam.Address{Pool: h.Pool, Addr: addr}
		a, there := c.assignments[at]
		if there && a.Node == h.node || c.bad[c.Text(assignmentKey(at))] {
			continue // it is assigned, or that is a finding of the assignment or its record
		}
		f.Kind, f.Key, f.ask = ContainerUnassigned, c.Text(assignmentKey(at)), []string{h.node}
		f.Cause = fmt.Sprintf("it has %s, and etcd does not say so", addr)
		if there {
			f.Cause = fmt.Sprintf("it has %s, which etcd assigns to %s on node %s", addr, a.Attachment, a.Node)
		}
		c.found(f)
	}
}

// compareMember is for a stateful container.
func (c *comparison) compareMember(f Finding, h holder) {
	id, missing := h.Identity(), []ipam.Address(nil)
	entry, recorded := c.Identities[id]
	for _, addr := range h.Addresses {
		at := ipam.Address{Pool: h.Pool, Addr: addr}
		r, there := c.reservations[at]
		f.Kind, f.Key = ContainerUnreserved, c.Text(reservationKey(at))
		switch {
		case c.bad[f.Key]:
		case c.bad[c.Text(identityKey(id))]:
			if !there {
				g := f
				g.Cause = fmt.Sprintf("it has %s, which is not reserved, and the record of %s cannot be read", addr, id)
				g.Repair = fmt.Sprintf("first repair %s: then its reservation is made again", c.Text(identityKey(id)))
				c.found(g)
			}
		case !there && !(recorded && entry.Pool == h.Pool && slices.Contains(entry.Addresses, addr)):
			missing = append(missing, at) // else it is a finding of the identity
		case !there:
		case r.Identity != id:
			g := f
			g.Cause, g.takes = fmt.Sprintf("it has %s, which is reserved for %s", addr, r.Identity), true
			g.Repair = fmt.Sprintf("have its runtime make it anew, or on node %s: berthctl delete %s", h.node, h.Attachment)
			c.found(g)
		case r.Holder == nil && r.Epoch <= h.Epoch:
			attached := r
			attached.Epoch, attached.Holder = h.Epoch, &record.Holder{Attachment: h.Attachment, Node: h.node, Since: h.Since}
			g := f
			g.Cause = fmt.Sprintf("it has %s, and etcd attaches %s to nobody", addr, id)
			g.repair = &admin.Repair{Same: guard(h.node), Put: []admin.Record{{Key: reservationKey(at), Value: attached}}}
			c.found(g)
		case r.Holder == nil || r.Holder.Node != h.node || r.Holder.Attachment != h.Attachment:
			g := f
			g.Cause, g.ask = fmt.Sprintf("it has %s, and another container had or has it since", addr), []string{h.node}
			c.found(g)
		}
	}
	if len(missing) > 0 && recorded {
		f.Key, f.takes = c.Text(reservationKey(missing[0])), true
		f.Cause = fmt.Sprintf("it has %s, which is not reserved, and %s has %v by its record", missing[0].Addr, id, entry.Addresses)
		f.Repair = fmt.Sprintf("have its runtime make it anew, or on node %s: berthctl delete %s", h.node, h.Attachment)
		c.found(f)
	} else if len(missing) > 0 {
		f.Key = c.Text(reservationKey(missing[0]))
		f.Cause = fmt.Sprintf("it has %s, and neither that nor anything else is reserved for %s", missing[0].Addr, id)
		var why string
		if f.repair, why = c.reserveAgain(id, missing); f.repair != nil {
			f.repair.Put = append(f.repair.Put,
				admin.Record{Key: identityKey(id), Value: record.IdentityRecord{Pool: h.Pool, Addresses: h.Addresses}})
		} else {
			f.takes = true
			f.Repair = fmt.Sprintf("%s: find out whose it is; if it is not this container's, on node %s: berthctl delete %s",
				why, h.node, h.Attachment)
		}
		c.found(f)
	}
}

// compareTwice finds addresses that several containers have and none of them is isolated for.
func (c *comparison) compareTwice() {
	for at, all := range c.held {
		both := twice(all)
		if both == nil {
			continue
		}
		var names, who []string
		for _, h := range both {
			names, who = append(names, h.node), append(who, fmt.Sprintf("%s on node %s", h.Attachment, h.node))
		}
		slices.Sort(who)
		c.found(Finding{
			Kind: AddressTwice, Key: c.Text(assignmentKey(at)), mark: fmt.Sprint(who), ask: names,
			Cause:  fmt.Sprintf("%s has several containers: %s", at.Addr, strings.Join(who, "; ")),
			Repair: "berthctl doctor --fix lets the nodes look whose it is; if it stays, delete one of the containers",
		})
	}
}
