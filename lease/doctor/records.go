package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// recalled bounds for how many damaged records etcd is asked what they were before.
const recalled = 200

// recall asks etcd what the damaged records were before, as far as it remembers that.
func (v *view) recall(ctx context.Context, s *lease.Operator) error {
	for _, b := range v.Bad[:min(len(v.Bad), recalled)] {
		value := b.Was
		if value == "" {
			var err error
			if value, err = s.Admin.Former(ctx, b); err != nil {
				return err
			}
		}
		if value != "" {
			v.former[b.Text] = value
		}
	}
	return nil
}

// compareRecords finds what cannot be read: it is the cause of many other findings.
func (c *comparison) compareRecords() {
	for _, b := range c.Bad {
		cause := strings.TrimPrefix(b.Reason.Error(), "lease: ")
		if e, is := errors.AsType[*kv.DamagedError](b.Reason); is {
			cause = e.Err.Error()
		}
		f := Finding{Kind: RecordUnreadable, Key: b.Text, Cause: cause, mark: fmt.Sprint(c.Revisions(b.Text))}
		c.repair(b, &f)
		c.found(f)
	}
	c.compareCluster()
}

// repair says how a damaged record is repaired. Fix does it where what it is to be is certain: what etcd remembers
// that it was, what the history says that the last change wrote, what all nodes say that they hold. What is only published,
// or asked, is deleted: its node writes it again.
func (v *view) repair(b admin.BadKey, f *Finding) {
	if b.Key.Kind == "" {
		f.Kind = KeyUnreadable
		f.Repair = fmt.Sprintf("this version of Berth does not read it: where no newer version runs and nobody knows whose it is, see "+
			"etcdctl get %s, then %s", quoted(b.Text), deleteKey(b.Text))
		return
	}
	switch b.Key.Kind {
	case kv.KindAssignment:
		f.repair, f.ask = &admin.Repair{Delete: []string{b.Text}}, v.ownersOf(ipam.Address{Pool: b.Key.Pool, Addr: b.Key.Address})
		return
	case kv.KindStatus:
		f.repair = &admin.Repair{Delete: []string{b.Text}}
		if _, answered := v.answers[b.Key.Node]; answered {
			f.ask = []string{b.Key.Node}
		}
		return
	case kv.KindDemand, kv.KindQuestion, kv.KindCheck, kv.KindSession:
		f.repair = &admin.Repair{Delete: []string{b.Text}}
		return
	}
	if value, origin := v.rightValue(b); value != "" {
		f.repair = &admin.Repair{Put: []admin.Record{{Key: b.Key, Value: json.RawMessage(value)}}}
		f.Repair = fmt.Sprintf("berthctl doctor --fix, or %s (%s)", putKey(b.Text, value), origin)
		return
	}
	if v.Config.NeverMade(b.Key) || v.addedInVain(b) {
		f.repair = &admin.Repair{Delete: []string{b.Text}}
		f.repair.Same = v.guards()
		f.Repair = fmt.Sprintf("nothing was there before, and nobody uses it: berthctl doctor --fix, or %s", deleteKey(b.Text))
		return
	}
	switch f.repair = v.derived(b); {
	case f.repair != nil:
	case b.Lost:
		f.Note, f.Repair = true, "nothing can be done: berthctl rollback does not go back over this change, and an older container that "+
			"does not know what it was given counts as outdated"
	case b.Revision == 0:
		f.Repair = fmt.Sprintf("what it was is not known: etcd has compacted it. %s", v.meanwhile(b.Key))
	default:
		f.Repair = fmt.Sprintf("what it was is not known: see etcdctl get %s, and write it as it was. %s", quoted(b.Text), v.meanwhile(b.Key))
	}
}

// rightValue is what a record is to be as it is written, and who says so; empty: that is not certain. The record of the
// revision says more than the history does.
func (v *view) rightValue(b admin.BadKey) (value, origin string) {
	was := v.former[b.Text]
	if value, known := v.State.Expected(b.Key); known && (was == "" || b.Key.Kind != kv.KindRevision) {
		return value, "as the last change of the configuration wrote it"
	}
	return was, "as it was before"
}

// guards are what is to stay the same where a decision rests on what all nodes have said.
func (v *view) guards() (all []kv.Key) {
	for name := range v.Nodes {
		all = append(all, guard(name)...)
	}
	return all
}

// addedInVain reports whether a damaged record is one where nothing was before, and all nodes say that they have nothing
// there.
func (v *view) addedInVain(b admin.BadKey) bool {
	if !b.Added || !v.allCompleteBut(b.Key.Node) {
		return false
	}
	at := ipam.Address{Pool: b.Key.Pool, Addr: b.Key.Address}
	switch b.Key.Kind {
	case kv.KindHistory:
		return b.Key.Number > v.Config.Changes
	case kv.KindNode:
		return v.neverWas(b)
	case kv.KindIdentity:
		return len(v.reservationsOf()[b.Key.Identity]) == 0 && !v.mayRun(b.Key.Identity)
	case kv.KindReservation:
		for _, record := range v.Identities {
			if record.Pool == at.Pool && slices.Contains(record.Addresses, at.Addr) {
				return false
			}
		}
		return len(v.held[at]) == 0
	case kv.KindBlock:
		pool, unreadable := v.pool(at.Pool)
		if unreadable || pool == nil || pool.BlockOf(at.Addr).Addr() != at.Addr {
			return !unreadable
		}
		block := pool.BlockOf(at.Addr)
		for _, answer := range v.answers {
			for _, s := range answer.Spaces {
				if s.Pool == at.Pool && slices.ContainsFunc(s.Parts, block.Overlaps) {
					return false
				}
			}
		}
		use, _ := v.within(admin.KeyedBlock{Block: record.Block{Pool: at.Pool, Prefix: block}})
		return use == ""
	}
	return false
}

// neverWas reports whether a damaged node's record was never another, and nothing is the node's. Two of them do not wait for each other.
func (v *view) neverWas(b admin.BadKey) bool {
	return b.Added && !v.Live(b.Key.Node) && !v.holdsAny(b.Key.Node)
}

// holdsAny reports whether anything in etcd is a node's.
func (v *view) holdsAny(name string) bool {
	return slices.ContainsFunc(v.Blocks, func(b admin.KeyedBlock) bool { return len(b.Of(name)) > 0 }) ||
		slices.ContainsFunc(v.Assignments, func(a record.Assignment) bool { return a.Node == name }) ||
		slices.ContainsFunc(v.Reservations, func(r record.Reservation) bool { return r.Holder != nil && r.Holder.Node == name })
}

// derived makes a record of what others say: all nodes of what they hold, reservations and identities of each other.
func (v *view) derived(b admin.BadKey) *admin.Repair {
	switch b.Key.Kind {
	case kv.KindIdentity:
		if record, same, whole := v.identityBy(v.reservationsOf()[b.Key.Identity]); whole {
			return &admin.Repair{Same: same, Put: []admin.Record{{Key: b.Key, Value: record}}}
		}
	case kv.KindBlock:
		return v.derivedBlock(b)
	case kv.KindReservation:
		at := ipam.Address{Pool: b.Key.Pool, Addr: b.Key.Address}
		for id, record := range v.Identities {
			if record.Pool == at.Pool && slices.Contains(record.Addresses, at.Addr) {
				repair, _ := v.reserveAgain(id, []ipam.Address{at})
				return repair
			}
		}
	}
	return nil
}

// derivedBlock is the block that all nodes together hold: no other can use anything of it.
func (v *view) derivedBlock(b admin.BadKey) *admin.Repair {
	pool, _ := v.pool(b.Key.Pool)
	if pool == nil || !v.allComplete() || pool.BlockOf(b.Key.Address).Addr() != b.Key.Address {
		return nil
	}
	block := record.Block{Prefix: pool.BlockOf(b.Key.Address)}
	repair := &admin.Repair{Same: []kv.Key{poolKey(pool.Name)}}
	for name, answer := range v.answers {
		repair.Same = append(repair.Same, guard(name)...)
		for _, s := range answer.Spaces {
			for _, p := range s.Parts {
				if s.Pool == pool.Name && block.Prefix.Contains(p.Addr()) {
					block.Parts = append(block.Parts, record.Part{Prefix: p, Owner: name})
				}
			}
		}
	}
	switch {
	case pool.InStateful(b.Key.Address) && len(block.Parts) == 0:
		block.Parts = []record.Part{{Prefix: block.Prefix, Owner: record.OwnerStateful}}
	case pool.InStateful(b.Key.Address) || len(block.Parts) == 0 || len(block.Uncovered()) > 0:
		return nil // whose the rest was, nobody says
	}
	slices.SortFunc(block.Parts, func(x, y record.Part) int { return x.Prefix.Compare(y.Prefix) })
	repair.Put = []admin.Record{{Key: b.Key, Value: block}}
	return repair
}

// meanwhile says what a record that nobody can read means for those who need it, and what not to do.
func (v *view) meanwhile(key kv.Key) string {
	switch key.Kind {
	case kv.KindBlock:
		return "Until then nobody is given anything of the block, and who has an address there keeps it. Do not delete it: another " +
			"node could claim the block"
	case kv.KindReservation:
		return "Until then nobody is given the address. Do not delete it: the address could become another's"
	case kv.KindIdentity:
		return "Until then the member keeps what it has, and cannot be started anew"
	case kv.KindNode:
		return fmt.Sprintf("Until then no agent can join as node %s, and nothing is taken from it. "+
			"Do not delete it, and do not remove the node", key.Node)
	case kv.KindSettings:
		return "Until then each node goes on with the settings that it knows. Do not delete it: berthctl apply with all settings writes it anew"
	case kv.KindPool:
		return "Until then each node goes on with the pool as it knows it, and no change is applied. Do not delete it: write it as it was"
	case kv.KindRevision:
		return "Until then each node goes on with the configuration that it knows, and no new block is claimed. Do not delete it"
	case kv.KindCluster:
		return "An agent that joins writes it anew, and all nodes assert what they hold before anything new is given"
	}
	return "Nothing else depends on it"
}

func (c *comparison) compareCluster() {
	if id := c.ClusterID; c.Cluster == nil && len(c.Nodes) > 0 && !c.bad[c.Text(kv.Key{Kind: kv.KindCluster})] {
		c.found(Finding{
			Kind: ClusterDiffers, Key: c.Text(kv.Key{Kind: kv.KindCluster}),
			Cause:  fmt.Sprintf("no record says which etcd the state belongs to; this one is cluster %s", id),
			Repair: "the agents write it by themselves when they join, or once the longest right has run out",
		})
	} else if c.Cluster != nil && c.Cluster.ID != "" && c.Cluster.ID != id {
		c.found(Finding{
			Kind: ClusterDiffers, Key: c.Text(kv.Key{Kind: kv.KindCluster}),
			Cause: fmt.Sprintf("the state belongs to the etcd cluster %s, and this one is %s: it was restored, or made anew", c.Cluster.ID, id),
			Repair: "the agents accept it by themselves once the longest right has run out; if these are the wrong --etcd-endpoints, give " +
				"the right ones",
		})
	}
}

// decisive are the kinds of records of which many others rest on each: while one of them cannot be read, nobody can tell
// whose something is, and so nothing is taken from anybody.
var decisive = []kv.Kind{
	kv.KindCluster, kv.KindRevision, kv.KindSettings, kv.KindPool, kv.KindNode, kv.KindBlock, kv.KindReservation,
	kv.KindIdentity,
}

// withhold takes back advice by which somebody would lose something, while a record stands that cannot be read. While entries of the
// history are lost nobody knows whether a pool that is missing was removed, or somebody has deleted its record.
func (c *comparison) withhold() {
	cause := slices.IndexFunc(c.Bad, func(b admin.BadKey) bool { return slices.Contains(decisive, b.Key.Kind) })
	lost := slices.IndexFunc(c.Bad, func(b admin.BadKey) bool { return b.Lost })
	for n := range c.findings {
		f := &c.findings[n]
		if !f.takes || cause < 0 && (lost < 0 || !slices.Contains(poolless, f.Kind)) {
			continue
		}
		f.repair, f.Fix = nil, len(f.ask) > 0
		if cause >= 0 {
			f.Repair = fmt.Sprintf("first repair %s, which cannot be read: it may be the cause of this. Then look again", c.Bad[cause].Text)
			continue
		}
		f.Repair = fmt.Sprintf("if the pool was not removed, berthctl apply it as it was; nobody knows, since %s is lost", c.Bad[lost].Text)
	}
}

// poolless are the findings that what lies in no pool is.
var poolless = []Kind{AssignmentOutsidePool, ReservationOutside, BlockNoPool, BlockNoRange, PartInRange}

// isCause reports whether a finding may be the cause of others, so that it comes first.
func (f *Finding) isCause() bool {
	return f.Kind == RecordUnreadable || f.Kind == KeyUnreadable || f.Kind == ClusterDiffers
}

func putKey(text, value string) string { return "etcdctl put " + quoted(text) + " " + quoted(value) }

// ownersOf are the nodes that answered and own an address.
func (v *view) ownersOf(at ipam.Address) (names []string) {
	for name := range v.answers {
		if v.owns(name, at) {
			names = append(names, name)
		}
	}
	return names
}

// mayRun reports whether a node says that a container of it has an address of an identity, or not every node has said
// what it holds.
func (v *view) mayRun(id allocator.Identity) bool {
	if !v.allComplete() {
		return true
	}
	for _, answer := range v.answers {
		for i := range answer.Attachments {
			if h := &answer.Attachments[i]; h.Class == allocator.Stateful && h.Identity() == id {
				return true
			}
		}
	}
	return false
}
