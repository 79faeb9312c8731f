package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A view is what the agents have reported and then what etcd has, read in this order because an ADD writes to etcd last.
type view struct {
	*admin.State
	answers map[string]record.NodeReport // of the nodes that have not settled anew since
	silent  []string
	now     time.Time

	assignments  map[ipam.Address]record.Assignment
	reservations map[ipam.Address]record.Reservation
	blocks       map[ipam.Address]admin.KeyedBlock // those whose key is that of a block, by its first address
	held         map[ipam.Address][]holder         // by journals
	bad          map[string]bool                   // keys whose records cannot be read
	former       map[string]string                 // their former values, as far as etcd has them
}

// A holder is an attachment, and the node whose journal has it.
type holder struct {
	node string
	*record.HeldAttachment
}

// observe requests the reports and reads etcd. Nodes that were silent before are not waited for again.
func observe(ctx context.Context, s *lease.Operator, o Options, silent []string) (*view, error) {
	answers, silent, err := s.Reports.Request(ctx, record.ReportRequest{Who: o.Who}, o.Patience, silent...)
	if err != nil {
		return nil, err
	}
	state, err := s.Admin.State(ctx)
	if err != nil {
		return nil, err
	}
	v := newView(state, answers, silent)
	v.now = s.KV.Clock.Wall()
	return v, v.recall(ctx, s)
}

func newView(state *admin.State, answers []record.NodeReport, silent []string) *view {
	v := &view{
		State: state, answers: map[string]record.NodeReport{}, silent: silent,
		assignments: map[ipam.Address]record.Assignment{}, reservations: map[ipam.Address]record.Reservation{},
		blocks: map[ipam.Address]admin.KeyedBlock{},
		held:   map[ipam.Address][]holder{}, bad: map[string]bool{}, former: map[string]string{},
	}
	for _, a := range state.Assignments {
		v.assignments[ipam.Address{Pool: a.Pool, Addr: a.Address}] = a
	}
	for _, r := range state.Reservations {
		v.reservations[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
	}
	for _, b := range state.Blocks {
		if v.malformed(b) == "" {
			v.blocks[ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}] = b
		}
	}
	for _, b := range state.Bad {
		v.bad[b.Text] = true
	}
	for _, a := range answers {
		if a.Generation != state.RevisionOf(kv.Key{Kind: kv.KindNode, Node: a.Node}) {
			continue
		}
		v.answers[a.Node] = a
		for i := range a.Attachments {
			for _, addr := range a.Attachments[i].Addresses {
				at := ipam.Address{Pool: a.Attachments[i].Pool, Addr: addr}
				v.held[at] = append(v.held[at], holder{a.Node, &a.Attachments[i]})
			}
		}
	}
	return v
}

// known reports whether a node's record is there, and is no tombstone. One that cannot be read is a node's.
func (v *view) known(name string) bool {
	n, there := v.Nodes[name]
	return there && n.Removed == nil || v.bad[v.Text(nodeKey(name))]
}

// gone reports whether nobody can be the node: it has no record and no session.
func (v *view) gone(name string) bool { return !v.known(name) && !v.Live(name) }

// removed reports whether a node was removed and has left a tombstone.
func (v *view) removed(name string) bool {
	n, there := v.Nodes[name]
	return there && n.Removed != nil && !v.Live(name)
}

// detachable reports whether what is attached to a gone node may move at once: it was removed, or no fence was promised.
// That is for reservations: a node's blocks are its own in every mode until its right has run out, and a missing record
// does not say when that is.
func (v *view) detachable(name string) bool {
	return v.removed(name) || v.gone(name) && !v.Config.Unsettled && v.Settings.Fencing == record.FencingEvidence
}

// complete reports whether a node has answered with all that its journal has.
func (v *view) complete(name string) bool {
	a, ok := v.answers[name]
	return ok && a.More.Attachments == 0
}

// allComplete is complete for every known node.
func (v *view) allComplete() bool { return v.allCompleteBut("") }

func (v *view) allCompleteBut(node string) bool {
	for _, b := range v.Bad {
		if b.Key.Kind == kv.KindNode && b.Key.Node != node && (node == "" || !v.neverWas(b)) {
			return false
		}
	}
	for name := range v.Nodes {
		if v.known(name) && !v.complete(name) {
			return false
		}
	}
	return true
}

// holderOf is the node's attachment that has an address by its journal; nil: none.
func (v *view) holderOf(node string, at ipam.Address) *record.HeldAttachment {
	for _, h := range v.held[at] {
		if h.node == node {
			return h.HeldAttachment
		}
	}
	return nil
}

// guard are the keys that have to stay the same where a decision relies on a node's report, or on its absence.
func guard(node string) []kv.Key {
	return []kv.Key{nodeKey(node), {Kind: kv.KindSession, Node: node}}
}

func nodeKey(name string) kv.Key { return kv.Key{Kind: kv.KindNode, Node: name} }
func poolKey(name string) kv.Key { return kv.Key{Kind: kv.KindPool, Pool: name} }
func assignmentKey(at ipam.Address) kv.Key {
	return kv.Key{Kind: kv.KindAssignment, Pool: at.Pool, Address: at.Addr}
}
func reservationKey(at ipam.Address) kv.Key {
	return kv.Key{Kind: kv.KindReservation, Pool: at.Pool, Address: at.Addr}
}
func blockKey(pool string, first netip.Addr) kv.Key {
	return kv.Key{Kind: kv.KindBlock, Pool: pool, Address: first}
}
func identityKey(id allocator.Identity) kv.Key {
	return kv.Key{Kind: kv.KindIdentity, Identity: id}
}

// pool is a pool's configuration. Where it cannot be read nothing can be said of what lies in it.
func (v *view) pool(name string) (p *allocator.Pool, unreadable bool) {
	if p, ok := v.Pools[name]; ok {
		return &p, false
	}
	return nil, v.bad[v.Text(poolKey(name))]
}

// blockOf is the block that an address lies in, as etcd has it. Hidden says that its record cannot be read, or is
// malformed.
func (v *view) blockOf(pool *allocator.Pool, a netip.Addr) (b admin.KeyedBlock, there, hidden bool) {
	first := pool.BlockOf(a).Addr()
	b, there = v.blocks[ipam.Address{Pool: pool.Name, Addr: first}]
	return b, there, !there && first.IsValid() && v.Has(blockKey(pool.Name, first))
}

// asStateful is the block of an address, kept for reservations.
func asStateful(pool *allocator.Pool, a netip.Addr) admin.Record {
	at := ipam.BlockID{Pool: pool.Name, Prefix: pool.BlockOf(a)}
	return admin.Record{Key: blockKey(at.Pool, at.Prefix.Addr()), Value: record.StatefulBlock(at)}
}

// owns reports whether a node's allocator owns an address.
func (v *view) owns(node string, at ipam.Address) bool {
	for _, s := range v.answers[node].Spaces {
		if s.Pool == at.Pool && slices.ContainsFunc(s.Parts, func(p netip.Prefix) bool { return p.Contains(at.Addr) }) {
			return true
		}
	}
	return false
}

// quoted is a text as a shell takes it.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func deleteKey(text string) string { return "etcdctl del " + quoted(text) }

// absence says why a node cannot be asked.
func (v *view) absence(node string) string {
	switch {
	case v.removed(node):
		return fmt.Sprintf("node %s was removed", node)
	case v.gone(node):
		return fmt.Sprintf("there is no node %s", node)
	}
	return fmt.Sprintf("node %s has no session", node)
}
