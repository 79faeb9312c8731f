package config

import (
	"context"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// spreadFormer sets each pool's own former gateways.
func (c *Config) spreadFormer() {
	for name, pool := range c.Pools {
		before := len(pool.Former)
		pool.Former = nil
		for _, f := range c.Former {
			if pool.Contains(f.Address) {
				pool.Former = append(pool.Former, f.Address)
			}
		}
		if before+len(pool.Former) > 0 {
			c.Pools[name] = pool
		}
	}
}

// retired are the addresses of a pool that nobody may have until every node has applied a change: gateways that it has no more, and
// former ends of CIDRs that grow.
func retired(was, is *allocator.Pool) []netip.Addr {
	gateways := slices.DeleteFunc(slices.Clone(was.Gateways), func(g netip.Addr) bool { return slices.Contains(is.Gateways, g) })
	return append(gateways, allocator.FormerEnds(was, is)...)
}

// retire is the list of former gateways and ends after a change: those of base, and what the change retires.
func retire(base, next *Config, pools []string) []record.Former {
	former := slices.Clone(next.Former)
	for _, name := range pools {
		was, is := base.Pools[name], next.Pools[name]
		for _, a := range retired(&was, &is) {
			if !isFormer(former, a) {
				former = append(former, record.Former{Address: a, Since: base.Revision})
			}
		}
		former = slices.DeleteFunc(former, func(f record.Former) bool { return slices.Contains(is.Gateways, f.Address) })
	}
	return former
}

func isFormer(all []record.Former, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(f record.Former) bool { return f.Address == a })
}

// FormerGateways are the gateways that were, and the one change of the configuration that an agent makes.
type FormerGateways struct{ editor *Editor }

// NewFormerGateways are those of the configuration that a store reads.
func NewFormerGateways(s *Store) *FormerGateways { return &FormerGateways{NewEditor(s)} }

// Free gives the former gateways free that every node has taken off, in a change of the configuration of its own. A
// node that is away counts until it is removed. It reports how many there were.
func (f *FormerGateways) Free(ctx context.Context, note Note) (freed int, err error) {
	base, err := f.editor.Read(ctx)
	if err != nil || len(base.Former) == 0 {
		return 0, err
	}
	applied, err := f.editor.appliedByAll(ctx)
	if err != nil {
		return 0, err
	}
	next := base.Clone()
	next.Former = slices.DeleteFunc(next.Former, func(g record.Former) bool { return g.Since < applied })
	if freed = len(base.Former) - len(next.Former); freed == 0 {
		return 0, nil
	}
	_, err = f.editor.commit(ctx, func() (change, error) { return change{base: base, next: next, note: note}, nil })
	return freed, err
}

// appliedByAll is the newest revision that every node has applied which was not removed. What a record that cannot be read
// says nobody knows: then it is none.
func (s *Editor) appliedByAll(ctx context.Context) (int64, error) {
	nodes, _, err := kv.List(ctx, s.kv, record.NodeCodec)
	if err != nil {
		return 0, err
	}
	statuses, err := record.Statuses(ctx, s.kv)
	if err != nil {
		return 0, err
	}
	applied := int64(1<<63 - 1)
	for _, n := range nodes {
		if n.Removed == nil {
			applied = min(applied, max(statuses[n.Name].Applied, statuses[n.Name].Live))
		}
	}
	return applied, nil
}

// freedSince is the present configuration, where agents have given former gateways free since a change's base was read, and
// nobody has done anything else: whoever made the change need not look at it again. nil: it is a conflict. So it is where the
// change makes a gateway of what was given free, since a node may have given that to a container by now.
func (s *Editor) freedSince(ctx context.Context, c change, conflict *ConflictError) (*Config, error) {
	mine := c.entry(conflict.Winner.When)
	if mine.FreesOnly() || !conflict.Winner.FreesOnly() {
		return nil, nil
	}
	now, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	for n := conflict.Winner.Number + 1; n <= now.Changes; n++ {
		if entry, err := kv.One(ctx, s.kv, record.HistoryCodec, s.kv.Keys.History(n)); err != nil || entry == nil || !entry.FreesOnly() {
			return nil, err
		}
	}
	for _, f := range c.base.Former {
		for _, name := range c.pools {
			if slices.Contains(c.next.Pools[name].Gateways, f.Address) && !isFormer(now.Former, f.Address) {
				return nil, nil
			}
		}
	}
	return now, nil
}

// onto is the change made upon what agents have made of its base by giving former gateways free.
func (c change) onto(now *Config) change {
	c.base, c.next = now, c.next.Clone()
	c.next.Former = slices.Clone(now.Former)
	return c
}
