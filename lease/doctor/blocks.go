package doctor

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// compareBlocks compares the blocks with their pools, their owners, and what the owners use.
func (c *comparison) compareBlocks() {
	for _, b := range c.Blocks {
		pool, unreadable := c.pool(b.Pool)
		switch malformed := c.malformed(b); {
		case unreadable:
		case pool == nil:
			c.found(c.deleted(b, Finding{Kind: BlockNoPool, Cause: fmt.Sprintf("there is no pool %s", b.Pool)}))
		case malformed != "":
			c.found(c.deleted(b, Finding{Kind: BlockMalformed, Cause: malformed}))
		default:
			c.compareParts(b, pool.InStateful(b.Prefix.Addr()))
		}
	}
	for name, answer := range c.answers {
		for _, s := range answer.Spaces {
			for _, p := range s.Parts {
				c.compareUse(name, s.Pool, p)
			}
		}
	}
}

// malformed says what is wrong with a block of a pool that can be read; empty: nothing, as far as its pool is known.
func (v *view) malformed(b admin.KeyedBlock) string {
	pool, ok := v.Pools[b.Pool]
	switch {
	case !ok:
		return ""
	case !b.Prefix.IsValid() || !pool.Contains(b.Prefix.Addr()):
		return fmt.Sprintf("block %s is not in pool %s, which has %v", b.Prefix, b.Pool, pool.CIDRs)
	case pool.BlockOf(b.Prefix.Addr()) != b.Prefix:
		return fmt.Sprintf("block %s is none of pool %s, and overlaps its block %s", b.Prefix, b.Pool, pool.BlockOf(b.Prefix.Addr()))
	case b.Key.Address != b.Prefix.Addr():
		return fmt.Sprintf("its record is that of block %s", b.Prefix)
	case len(b.Parts) == 0:
		return "it has no part, and so no owner"
	}
	kept := b.Stateful()
	for i, p := range b.Parts {
		switch {
		case !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() || p.Prefix.Bits() < b.Prefix.Bits() || !b.Prefix.Contains(p.Prefix.Addr()):
			return fmt.Sprintf("its part %s is none of %s", p.Prefix, b.Prefix)
		case p.Owner == "":
			return fmt.Sprintf("its part %s has no owner", p.Prefix)
		case p.Owner == record.OwnerMachine && (p.Node == "" || !p.Prefix.IsSingleIP()):
			return fmt.Sprintf("its part %s is said to be an address of a node itself, and names no node, or more than one address", p.Prefix)
		case p.Owner == record.OwnerStateful && !kept:
			return "part of it is kept for reservations, and part is a node's"
		}
		for _, other := range b.Parts[:i] {
			if other.Prefix.Overlaps(p.Prefix) {
				return fmt.Sprintf("its parts %s of %s and %s of %s overlap", other.Prefix, other.Owner, p.Prefix, p.Owner)
			}
		}
	}
	return ""
}

// deleted adds to a finding that its block can be deleted, where nothing of it is in use.
func (v *view) deleted(b admin.KeyedBlock, f Finding) Finding {
	f.Key, f.mark, f.takes = v.Text(b.Key), fmt.Sprint(b.Revision), true
	repair := &admin.Repair{Same: []kv.Key{poolKey(b.Pool)}, Delete: []string{f.Key}}
	why, unsaid, reserved := "", "", false
	for _, p := range b.Parts {
		if f.Node == "" && p.Owner != record.OwnerStateful && p.Owner != record.OwnerMachine {
			f.Node = p.Owner
		}
		switch answer, answered := v.answers[p.Owner]; {
		case p.Owner == record.OwnerStateful || p.Owner == record.OwnerMachine || p.Owner == "":
		case !answered && !v.removed(p.Owner):
			why, unsaid = fmt.Sprintf("node %s has not said whether it uses it", p.Owner), p.Owner
		case answered && v.uses(answer, b):
			why = fmt.Sprintf("node %s uses it", p.Owner)
		default:
			repair.Same = append(repair.Same, guard(p.Owner)...)
		}
	}
	if use, is := v.within(b); use != "" && v.Text(b.Key) == v.Text(blockKey(b.Pool, b.Prefix.Masked().Addr())) {
		why, reserved = use, is
	}
	switch {
	case why == "":
		f.repair = repair
	case unsaid != "" && v.gone(unsaid):
		f.Repair = removal(unsaid)
	case reserved: // without the block a node would claim it, and its containers would lose to the members
		f.Repair = fmt.Sprintf("%s: first do what is said of each reservation there; the block is told again then", why)
	default:
		f.Repair = fmt.Sprintf("%s: end the containers there, then %s", why, deleteKey(f.Key))
	}
	return f
}

// uses reports whether a node's allocator has something of a block that no sound block of the node's explains.
func (v *view) uses(answer record.NodeReport, b admin.KeyedBlock) bool {
	for _, s := range answer.Spaces {
		for _, p := range s.Parts {
			if s.Pool == b.Pool && b.Prefix.IsValid() && p.Overlaps(b.Prefix) && !v.recorded(answer.Node, s.Pool, p) {
				return true
			}
		}
	}
	return false
}

// within names one address of a block's that is in use; empty: none. reserved: what is first to be released is a reservation.
func (v *view) within(b admin.KeyedBlock) (use string, reserved bool) {
	in := func(at ipam.Address) bool {
		return at.Pool == b.Pool && b.Prefix.IsValid() && b.Prefix.Contains(at.Addr)
	}
	for at := range v.reservations {
		if in(at) {
			return fmt.Sprintf("address %s is reserved", at.Addr), true
		}
	}
	for at := range v.assignments {
		if in(at) {
			return fmt.Sprintf("address %s is assigned", at.Addr), false
		}
	}
	for at := range v.held {
		if in(at) {
			return fmt.Sprintf("a container has address %s", at.Addr), false
		}
	}
	return "", false
}

// compareParts checks the owners of a sound block.
func (c *comparison) compareParts(b admin.KeyedBlock, inRange bool) {
	key := c.Text(b.Key)
	seen := map[string]bool{}
	for _, p := range b.Parts {
		name := p.Owner
		if name == record.OwnerMachine {
			c.compareMachine(b, p)
			continue
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		f := Finding{Key: key, Node: name, mark: fmt.Sprint(b.Revision)}
		switch {
		case name == record.OwnerStateful && !inRange:
			f.Node, f.Kind, f.Cause = "", BlockNoRange, fmt.Sprintf("it is kept for reservations, and no stateful range of pool %s has it", b.Pool)
			c.found(c.deleted(b, f))
		case name == record.OwnerStateful:
		case c.removed(name), c.gone(name):
			f.takes = true
			f.Kind, f.Cause = PartUnknownNode, fmt.Sprintf("%s is owned by %s, and %s", p.Prefix, name, c.absence(name))
			if c.removed(name) {
				f.Kind, f.repair = PartRemovedNode, c.withoutOwner(b, name)
			} else {
				f.Repair = removal(name)
			}
			c.found(f)
		case inRange:
			f.Kind, f.Cause = PartInRange, fmt.Sprintf("node %s owns %s, which lies in a stateful range of pool %s", name, p.Prefix, b.Pool)
			f.Repair = "the node gives it back when none of its containers uses it; until then no reservation is made there"
			c.found(f)
		default:
			c.compareIdle(f, b.Pool, p.Prefix)
		}
	}
}

// compareMachine checks that the node exists whose own address a part is, and that nobody else has it.
func (c *comparison) compareMachine(b admin.KeyedBlock, p record.Part) {
	at, f := ipam.Address{Pool: b.Pool, Addr: p.Prefix.Addr()}, Finding{Key: c.Text(b.Key), Node: p.Node, mark: fmt.Sprint(b.Revision)}
	if c.removed(p.Node) || c.gone(p.Node) {
		f.Kind, f.Cause = PartUnknownNode, fmt.Sprintf("%s is an address of node %s itself, and %s", at.Addr, p.Node, c.absence(p.Node))
		f.Repair = removal(p.Node)
		if c.removed(p.Node) {
			f.Kind, f.Repair = PartRemovedNode, fmt.Sprintf("berthctl node remove %s", p.Node)
		}
		c.found(f)
		return
	}
	for _, h := range c.held[at] {
		c.found(Finding{
			Kind: AddressTwice, Key: c.Text(b.Key), Node: h.node, Container: h.Attachment.String(),
			Cause:  fmt.Sprintf("%s is an address of node %s itself, and a container of node %s has it", at.Addr, p.Node, h.node),
			Repair: "end the container, or give the node another address",
		})
	}
}

// removal is what gives back the blocks of a node that etcd has lost: a machine of the name may run and be cut off.
func removal(name string) string {
	return fmt.Sprintf("start the agent of node %s; if its machine is gone for good: berthctl node remove %s, which waits for its "+
		"right to run out", name, name)
}

// withoutOwner takes a node's parts out of a block.
func (v *view) withoutOwner(b admin.KeyedBlock, name string) *admin.Repair {
	rest := b.Block
	rest.Parts = slices.DeleteFunc(slices.Clone(b.Parts), func(p record.Part) bool { return p.Owner == name })
	if len(rest.Parts) == 0 {
		return &admin.Repair{Same: guard(name), Delete: []string{v.Text(b.Key)}}
	}
	return &admin.Repair{Same: guard(name), Put: []admin.Record{{Key: b.Key, Value: rest}}}
}

// compareIdle notes a part that its node does not allocate from.
func (c *comparison) compareIdle(f Finding, pool string, part netip.Prefix) {
	if _, answered := c.answers[f.Node]; answered && !c.owns(f.Node, ipam.Address{Pool: pool, Addr: part.Addr()}) {
		f.Kind, f.Note, f.mark = PartUnused, true, ""
		f.Cause = fmt.Sprintf("node %s does not allocate from %s: its journal was lost, or its giving it back was not settled", f.Node, part)
		f.Repair = "nothing: it is used again after the next boot of the node"
		c.found(f)
	}
}

// compareUse checks that etcd has the node as the owner of what it allocates from.
func (c *comparison) compareUse(name, poolName string, part netip.Prefix) {
	pool, unreadable := c.pool(poolName)
	if unreadable || pool == nil || c.recorded(name, poolName, part) {
		return
	}
	b, there, hidden := c.blockOf(pool, part.Addr())
	if hidden {
		return
	}
	f := Finding{
		Kind: PartUnrecorded, Key: c.Text(blockKey(poolName, pool.BlockOf(part.Addr()).Addr())), Node: name, ask: []string{name},
		Cause: fmt.Sprintf("node %s allocates from %s, and etcd has no record that it owns it", name, part), mark: part.String(),
	}
	if there {
		f.Cause = fmt.Sprintf("node %s allocates from %s, and by etcd it is %s", name, part, owners(b))
	}
	c.found(f)
}

// recorded reports whether sound blocks say that all of a part is a node's.
func (v *view) recorded(name, pool string, part netip.Prefix) bool {
	p, ok := v.Pools[pool]
	if !ok {
		return false
	}
	b, there, _ := v.blockOf(&p, part.Addr())
	if !there {
		return false
	}
	if slices.ContainsFunc(b.Parts, func(q record.Part) bool {
		return q.Owner == name && q.Prefix.Bits() <= part.Bits() && q.Prefix.Contains(part.Addr())
	}) {
		return true
	}
	if part.IsSingleIP() {
		return false
	}
	// Allocators join parts that lie side by side.
	lower := netip.PrefixFrom(part.Addr(), part.Bits()+1)
	for _, q := range b.Parts {
		if q.Owner == name && part.Contains(q.Prefix.Addr()) {
			return v.recorded(name, pool, lower) && v.recorded(name, pool, netip.PrefixFrom(firstAfter(lower), part.Bits()+1))
		}
	}
	return false
}

// firstAfter is the first address after a prefix.
func firstAfter(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last.Next()
}

func owners(b admin.KeyedBlock) string {
	var names []string
	for _, p := range b.Parts {
		names = append(names, fmt.Sprintf("%s of %s", p.Prefix, p.Owner))
	}
	return fmt.Sprint(names)
}
