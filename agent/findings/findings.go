// Package findings keeps what is wrong on a node until it is repaired, for the log, /readyz, the node's status in etcd, and the
// metrics.
package findings

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/record"
)

// A Finding is one thing that is wrong. Kind and Subject identify it; scripts rely on the kinds.
type Finding = record.NodeFinding

// ByItself is the advice where no operator has to act.
const ByItself = "nothing: the agent puts it back"

// A Board holds the findings of a node. The zero Board is not usable: New makes one.
type Board struct {
	changed func(f Finding, stands bool)
	now     func() time.Time

	mu     lockorder.Subject
	stands map[id]Finding
	kinds  map[string]bool // those that have ever stood
}

type id struct{ kind, subject string }

// New makes an empty board. now is the time of day in UTC. changed is called when a finding begins, when its text or advice
// changes, and when it ends, with stands false. No lock is held meanwhile, so that it may read the board.
func New(changed func(f Finding, stands bool), now func() time.Time) *Board {
	return &Board{changed: changed, now: now, stands: map[id]Finding{}, kinds: map[string]bool{}}
}

// Set sets a finding. kind is a word with hyphens (bridge-gone); subject is what it is about (a key, a link, an address); text
// says what is wrong and why; advice is what an operator does about it, or what the agent does by itself. Setting the same again
// changes nothing.
func (b *Board) Set(kind, subject, text, advice string) {
	k := id{kind, subject}
	b.mu.Lock()
	f, known := b.stands[k]
	if known && f.Text == text && f.Advice == advice {
		b.mu.Unlock()
		return
	}
	if !known {
		f = Finding{Kind: kind, Subject: subject, Since: b.now().Truncate(time.Second)}
	}
	f.Text, f.Advice = text, advice
	b.stands[k], b.kinds[kind] = f, true
	b.mu.Unlock()
	b.changed(f, true)
}

// Clear clears a finding. Clearing one that is not set changes nothing.
func (b *Board) Clear(kind, subject string) {
	b.mu.Lock()
	f, known := b.stands[id{kind, subject}]
	delete(b.stands, id{kind, subject})
	b.mu.Unlock()
	if known {
		b.changed(f, false)
	}
}

// Keep clears the findings of a kind whose subject is not given, for callers that check all subjects at once.
func (b *Board) Keep(kind string, subjects ...string) {
	for _, f := range b.List() {
		if f.Kind == kind && !slices.Contains(subjects, f.Subject) {
			b.Clear(kind, f.Subject)
		}
	}
}

// List is all findings, by kind and subject.
func (b *Board) List() []Finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Finding, 0, len(b.stands))
	for _, f := range b.stands {
		all = append(all, f)
	}
	slices.SortFunc(all, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject))
	})
	return all
}

// Counts is the number of findings by kind. A kind that was ever set stays in it with 0, because a series that vanishes looks
// like an agent that vanishes.
func (b *Board) Counts() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for kind := range b.kinds {
		counts[kind] = 0
	}
	for k := range b.stands {
		counts[k.kind]++
	}
	return counts
}
