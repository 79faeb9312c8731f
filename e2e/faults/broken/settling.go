package broken

// In settling a node that is back allocates, and lets pass, before it has settled: that it does ten seconds later. What else would
// settle in its stead does not: the watches, a block that was lost, and the donor.
var settling = Build{
	Name: "broken_settling",
	Changes: []Change{
		{File: "agent/member/presence.go", Old: "k.Settler.settle(ctx, p.Session)", New: "k.Settler.settleLater(ctx, p.Session)"},
		{File: "agent/member/watches.go", Old: "range u.Set {", New: "range u.Set[:0] {"},
		{File: "agent/publish/publish.go", Old: "*block.LostError](err); ok {", New: "*block.LostError](err); ok && false {"},
		{File: commit, Old: "case a.Addresses.LostAddress(add.entry):", New: "case false && a.Addresses.LostAddress(add.entry):"},
		{
			File: "agent/transfers/donate.go",
			Old:  "	if err != nil {\n		return wait\n",
			New:  "	if err != nil || e.Unsettled().Load() {\n		return wait\n",
		},
		{
			File: "agent/addresses/view.go",
			Old:  "		var gained []ipam.BlockID\n",
			New:  "		if true {\n			return\n		}\n		var gained []ipam.BlockID\n",
		},
		{
			File: "agent/addresses/reconcile.go",
			Old:  "(gained []ipam.BlockID) {\n",
			New:  "(gained []ipam.BlockID) {\n	if m.Unsettled().Load() {\n		return nil\n	}\n",
		},
	},
	Adds: map[string]string{
		"agent/node/broken_settling.go": `package node

import "sync/atomic"

var unsettled atomic.Bool

// Unsettled is set while the node allocates before it has settled.
func (n *Node) Unsettled() *atomic.Bool { return &unsettled }
`,
		"agent/member/broken_settling.go": `package member

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/session"
)

// settleLater settles ten seconds late where the node is back after its right has run out.
func (se *Settler) settleLater(ctx context.Context, s *session.Session) error {
	back := se.Gate.Session() != nil
	if !back || se.Rights.Remaining(allocator.Stateless) > 0 {
		return se.settle(ctx, s)
	}
	se.Unsettled().Store(true)
	se.Gate.Exclusive(func() {
		se.Gate.BeginLocked(s)
		for _, e := range se.Journal.Entries() {
			if e.Answered != 0 {
				se.isolator.Uncut(e.Attachment)
			}
		}
	})
	time.AfterFunc(10*time.Second, func() {
		se.Unsettled().Store(false)
		_ = se.settle(ctx, s)
	})
	return nil
}
`,
	},
}
