package agent

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/metrics"
)

// snapshot is what the gauges show, read when they are scraped.
func (a *Agent) snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		Attachments: map[string]int{}, Rights: map[string]time.Duration{},
		Backlog: a.backlog.len(), Isolated: a.journal.Isolated(), Waiting: a.waiters.count(), Revision: a.config.Load().Revision,
		Journal: a.journal.Bytes(),
		Applied: a.lagging.revision(), Live: a.lagging.liveRevision(), Outdated: a.lagging.outdated(), Findings: a.findings.Counts(),
	}
	session := a.gate.Session()
	s.Recovering = session != nil && session.Recovering()
	for _, class := range []allocator.Class{allocator.Stateless, allocator.Stateful} {
		s.Attachments[string(class)] = 0
		s.Rights[string(class)] = a.rights.Remaining(class)
	}
	for _, e := range a.journal.Entries() {
		s.Attachments[string(e.Class)]++
	}
	a.pools.each(func(k spaceKey, space *allocator.Space) {
		c := space.Counts()
		s.Pools = append(s.Pools, metrics.Pool{
			Name: k.pool, Family: k.family.String(), Blocks: len(space.Parts()),
			Addresses: map[string]int{"free": c.Free, "released": c.Released, "quarantined": c.Quarantined, "held": c.Held, "excluded": c.Excluded},
		})
	})
	return s
}
