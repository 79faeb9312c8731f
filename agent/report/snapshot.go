package report

import (
	"time"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/metrics"
)

// Snapshot is what the gauges show, read when they are scraped.
func (re *Reporter) Snapshot() metrics.Snapshot {
	lagging := &re.updater.Lagging
	s := metrics.Snapshot{
		Attachments: map[string]int{}, Rights: map[string]time.Duration{}, Backlog: re.backlog.Len(), Isolated: re.Journal.Isolated(),
		Waiting: re.addresses.Waiters.Count(), Journal: re.Journal.Bytes(), Findings: re.Findings.Counts(), Revision: re.Config().Revision,
		Applied: lagging.Revision(), Live: lagging.LiveRevision(), Outdated: lagging.Outdated(),
	}
	session := re.Gate.Session()
	s.Recovering = session != nil && session.Recovering()
	for _, class := range allocator.Classes {
		s.Attachments[string(class)] = 0
		s.Rights[string(class)] = re.Rights.Remaining(class)
	}
	for _, e := range re.Journal.Entries() {
		s.Attachments[string(e.Class)]++
	}
	re.addresses.Pools.Each(func(k addresses.SpaceKey, space *allocator.Space) {
		c := space.Counts()
		s.Pools = append(s.Pools, metrics.Pool{
			Name: k.Pool, Family: k.Family.String(), Blocks: len(space.Parts()),
			Addresses: map[string]int{"free": c.Free, "released": c.Released, "quarantined": c.Quarantined, "held": c.Held, "excluded": c.Excluded},
		})
	})
	return s
}
