package update

import (
	"cmp"
	"maps"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/record"
)

// namedLaggards is how many lagging containers the node's status names.
const namedLaggards = 200

// lagging are the containers without the present configuration, and the last revision that all of them had.
type lagging struct {
	mu      lockorder.Subject
	seen    int64 // the revision of reasons
	applied int64 // the newest that all of them have
	live    int64 // the newest that all of them have as far as a running one can get it
	bridges bool  // every bridge has what seen says
	reasons map[allocator.Attachment]record.Lag

	restorations int                          // how many entries were restored
	restored     map[allocator.Attachment]int // those that no roll-out has looked at, each by its number

	Rearranged rearranged
}

// Revision is the newest one that every container of this node has.
func (l *lagging) Revision() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// LiveRevision is the newest one that every container of this node has as far as a running one can get it.
func (l *lagging) LiveRevision() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live
}

// reset forgets which revisions were applied: those of another etcd.
func (l *lagging) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.applied, l.live = 0, 0, 0
}

// Restored has a container lag whose journal entry was restored, until a roll-out that begins later has looked at it: what it has is
// not known.
func (l *lagging) Restored(at allocator.Attachment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.restored == nil {
		l.restored = map[allocator.Attachment]int{}
	}
	l.restorations++
	l.restored[at] = l.restorations
	l.lagRestored()
}

func (l *lagging) lagRestored() {
	for at := range l.restored {
		if l.reasons == nil {
			l.reasons = map[allocator.Attachment]record.Lag{}
		}
		l.reasons[at] = record.Lag{Attachment: at, Reason: "its journal entry was restored, and what it has is not compared yet"}
		l.applied, l.live = 0, 0
	}
}

// Begin is what Set is to know of a roll-out that begins.
func (l *lagging) Begin() (restorations int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.restorations
}

// Set records the outcome of a roll-out of one revision that began with as many restorations: which containers lag, and whether every
// bridge has it. It reports whether anything has changed.
func (l *lagging) Set(restorations int, revision int64, bridges bool, reasons map[allocator.Attachment]record.Lag) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.seen != revision || !maps.Equal(l.reasons, reasons) || l.bridges != bridges
	l.seen, l.reasons = revision, maps.Clone(reasons) // the caller goes on reading its own
	maps.DeleteFunc(l.restored, func(_ allocator.Attachment, n int) bool { return n <= restorations })
	l.lagRestored()
	l.bridges = bridges
	l.judgeLocked()
	return news
}

// judgeLocked concludes from the reasons which revision is applied. A container may come to lag behind a revision that it had: what fits
// between nodes is no part of the configuration. Then none is known that all have.
func (l *lagging) judgeLocked() {
	lags, follow := len(l.reasons) > 0, len(l.reasons) > remakes(l.reasons)
	switch {
	case follow && l.live == l.seen:
		l.live = 0
	case !follow && l.bridges:
		l.live = l.seen
	}
	switch {
	case lags && l.applied == l.seen:
		l.applied = 0
	case !lags && l.bridges:
		l.applied = l.seen
	}
}

// Drop forgets a container that is gone or was recreated, and reports whether it lagged.
func (l *lagging) Drop(at allocator.Attachment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, lags := l.reasons[at]; !lags {
		return false
	}
	delete(l.reasons, at)
	delete(l.restored, at)
	l.judgeLocked()
	return true
}

// Outdated is how many containers must be recreated.
func (l *lagging) Outdated() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return remakes(l.reasons)
}

func remakes(reasons map[allocator.Attachment]record.Lag) (n int) {
	for _, lag := range reasons {
		if lag.Remake {
			n++
		}
	}
	return n
}

// into adds lagging containers to the status. Of too many it names those that a running one could follow first, and the same ones
// each time, because the status is written when it changes.
func (l *lagging) into(s *record.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Revision, s.Applied, s.Live = l.seen, l.applied, l.live
	s.LaggingCount, s.RemakeCount = len(l.reasons), remakes(l.reasons)
	s.Lagging = slices.SortedFunc(maps.Values(l.reasons), func(x, y record.Lag) int {
		if x.Remake != y.Remake {
			return map[bool]int{false: -1, true: 1}[x.Remake]
		}
		return cmp.Compare(x.Attachment.String(), y.Attachment.String())
	})
	s.Lagging = s.Lagging[:min(len(s.Lagging), namedLaggards)]
}
