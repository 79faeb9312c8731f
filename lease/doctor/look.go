package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A look is what all said at about one time: the agents first, and then etcd, which an ADD reaches last.
type view struct {
	*admin.State
	answers map[string]record.NodeReport // of the nodes that have not settled anew since
	silent  []string

	assignments  map[ipam.Address]record.Assignment
	reservations map[ipam.Address]record.Reservation
	blocks       map[ipam.Address]admin.KeyedBlock // those whose key is that of a block, by its first address
	held         map[ipam.Address][]holder         // by journals
	bad          map[string]bool                   // keys whose records cannot be read
	former       map[string]string                 // what etcd remembers of them
	findings     []Finding
}

// A holder is an attachment, and the node whose journal has it.
type holder struct {
	node string
	*record.HeldAttachment
}

// observe asks, reads, and arranges. Nodes that did not answer before are not waited for again.
func observe(ctx context.Context, s *lease.Operator, o Options, silent []string) (*view, error) {
	answers, silent, err := s.Reports.Request(ctx, record.ReportRequest{Who: o.Who}, o.Patience, silent...)
	if err != nil {
		return nil, err
	}
	state, err := s.Admin.State(ctx)
	if err != nil {
		return nil, err
	}
	l := newView(state, answers, silent)
	return l, l.recall(ctx, s)
}

func newView(state *admin.State, answers []record.NodeReport, silent []string) *view {
	l := &view{
		State: state, answers: map[string]record.NodeReport{}, silent: silent,
		assignments: map[ipam.Address]record.Assignment{}, reservations: map[ipam.Address]record.Reservation{},
		blocks: map[ipam.Address]admin.KeyedBlock{},
		held:   map[ipam.Address][]holder{}, bad: map[string]bool{}, former: map[string]string{},
	}
	for _, a := range state.Assignments {
		l.assignments[ipam.Address{Pool: a.Pool, Addr: a.Address}] = a
	}
	for _, r := range state.Reservations {
		l.reservations[ipam.Address{Pool: r.Pool, Addr: r.Address}] = r
	}
	for _, b := range state.Blocks {
		if l.malformed(b) == "" {
			l.blocks[ipam.Address{Pool: b.Pool, Addr: b.Prefix.Addr()}] = b
		}
	}
	for _, b := range state.Bad {
		l.bad[b.Text] = true
	}
	for _, a := range answers {
		if a.Generation != state.RevisionOf(kv.Key{Kind: kv.KindNode, Node: a.Node}) {
			continue
		}
		l.answers[a.Node] = a
		for i := range a.Attachments {
			for _, addr := range a.Attachments[i].Addresses {
				at := ipam.Address{Pool: a.Attachments[i].Pool, Addr: addr}
				l.held[at] = append(l.held[at], holder{a.Node, &a.Attachments[i]})
			}
		}
	}
	return l
}

// report makes all comparisons.
func (l *view) report() *Report {
	r := &Report{Revision: l.Revision, Answered: []string{}, Silent: []string{}, Away: []string{}, Findings: []Finding{},
		Repaired: []Finding{}, state: l.State}
	l.compareRecords()
	l.compareNodes()
	l.compareBlocks()
	l.compareAssignments()
	l.compareReservations()
	l.compareIdentities()
	l.compareJournals()
	l.compareKernels()
	l.withhold()
	for name := range l.answers {
		r.Answered = append(r.Answered, name)
	}
	r.Silent = append(r.Silent, l.silent...)
	for name := range l.Nodes {
		if l.known(name) && !l.Live(name) {
			r.Away = append(r.Away, name)
		}
	}
	slices.Sort(r.Answered)
	slices.Sort(r.Away)
	r.Findings = append(r.Findings, l.findings...)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.where(), b.where()),
			cmp.Compare(a.Container, b.Container))
	})
	return r
}

// rank puts causes before what may follow from them.
func rank(f Finding) int {
	if f.isCause() {
		return 0
	}
	return 1
}

// found adds a finding.
func (l *view) found(f Finding) {
	f.Fix = f.repair != nil || len(f.ask) > 0
	if f.Fix && f.Repair == "" {
		f.Repair = "berthctl doctor --fix"
	}
	l.findings = append(l.findings, f)
}

// known reports whether a node's record is there, and is no gravestone. One that cannot be read is a node's.
func (l *view) known(name string) bool {
	n, there := l.Nodes[name]
	return there && n.Removed == nil || l.bad[l.Text(nodeKey(name))]
}

// gone reports whether nobody can be the node: it has no record and no session.
func (l *view) gone(name string) bool { return !l.known(name) && !l.Live(name) }

// removed reports whether a node is gone and has left a gravestone.
func (l *view) removed(name string) bool {
	n, there := l.Nodes[name]
	return there && n.Removed != nil && !l.Live(name)
}

// detachable reports whether what is attached to a gone node may move at once: it was removed, or no fence was promised.
// That is for reservations: a node's blocks are its own in every mode until its right has run out, and a missing record
// does not say when that is.
func (l *view) detachable(name string) bool {
	return l.removed(name) || l.gone(name) && !l.Config.Unsettled && l.Settings.Fencing == record.FencingEvidence
}

// complete reports whether a node has answered with all that its journal has.
func (l *view) complete(name string) bool {
	a, ok := l.answers[name]
	return ok && a.More.Attachments == 0
}

// allComplete reports whether every known node has.
func (l *view) allComplete() bool { return l.allCompleteBut("") }

func (l *view) allCompleteBut(node string) bool {
	for _, b := range l.Bad {
		if b.Key.Kind == kv.KindNode && b.Key.Node != node && (node == "" || !l.neverWas(b)) {
			return false
		}
	}
	for name := range l.Nodes {
		if l.known(name) && !l.complete(name) {
			return false
		}
	}
	return true
}

// holderOf is who of a node has the address by its journal; nil: nobody.
func (l *view) holderOf(node string, at ipam.Address) *record.HeldAttachment {
	for _, h := range l.held[at] {
		if h.node == node {
			return h.HeldAttachment
		}
	}
	return nil
}

// guard is what is to stay the same where a decision rests on what a node has said, or on its absence.
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
func (l *view) pool(name string) (p *allocator.Pool, unreadable bool) {
	if p, ok := l.Pools[name]; ok {
		return &p, false
	}
	return nil, l.bad[l.Text(poolKey(name))]
}

// blockOf is the block that an address lies in, as etcd has it. Hidden says that its record cannot be read, or is
// malformed.
func (l *view) blockOf(pool *allocator.Pool, a netip.Addr) (b admin.KeyedBlock, there, hidden bool) {
	first := pool.BlockOf(a).Addr()
	b, there = l.blocks[ipam.Address{Pool: pool.Name, Addr: first}]
	return b, there, !there && first.IsValid() && l.Has(blockKey(pool.Name, first))
}

// owner is whose an address is by the block's parts; empty: nobody's.
func owner(b admin.KeyedBlock, a netip.Addr) string {
	for _, p := range b.Parts {
		if p.Prefix.Contains(a) {
			return p.Owner
		}
	}
	return ""
}

// owns reports whether a node's allocator owns an address.
func (l *view) owns(node string, at ipam.Address) bool {
	for _, s := range l.answers[node].Spaces {
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
func (l *view) absence(node string) string {
	switch {
	case l.removed(node):
		return fmt.Sprintf("node %s was removed", node)
	case l.gone(node):
		return fmt.Sprintf("there is no node %s", node)
	}
	return fmt.Sprintf("node %s has no session", node)
}
