package agent

import (
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/metrics"
)

// snapshot is what the gauges show, read when they are scraped.
func (a *reporter) snapshot() metrics.Snapshot {
	s := metrics.Snapshot{
		Attachments: map[string]int{}, Rights: map[string]time.Duration{},
		Backlog: a.backlog.len(), Isolated: a.Journal.Isolated(), Waiting: a.addresses.waiters.count(), Revision: a.Config().Revision,
		Journal: a.Journal.Bytes(),
		Applied: a.updater.lagging.revision(), Live: a.updater.lagging.liveRevision(), Outdated: a.updater.lagging.outdated(), Findings: a.Findings.Counts(),
	}
	session := a.Gate.Session()
	s.Recovering = session != nil && session.Recovering()
	for _, class := range []allocator.Class{allocator.Stateless, allocator.Stateful} {
		s.Attachments[string(class)] = 0
		s.Rights[string(class)] = a.Rights.Left(class)
	}
	for _, e := range a.Journal.Entries() {
		s.Attachments[string(e.Class)]++
	}
	a.addresses.pools.each(func(k spaceKey, space *allocator.Space) {
		c := space.Counts()
		s.Pools = append(s.Pools, metrics.Pool{
			Name: k.pool, Family: k.family.String(), Blocks: len(space.Parts()),
			Addresses: map[string]int{"free": c.Free, "released": c.Released, "quarantined": c.Quarantined, "held": c.Held, "excluded": c.Excluded},
		})
	})
	return s
}
