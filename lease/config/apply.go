package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// An Editor changes the configuration.
type Editor struct{ *Store }

// NewEditor changes the configuration that a store reads.
func NewEditor(s *Store) *Editor { return &Editor{s} }

// A change is what one transaction does to the configuration.
type change struct {
	base, next *Config
	note       Note
	pools      []string // that differ, by name
	guard
}

// RemovePool takes a pool out of the configuration, with the blocks that no node owns. It fails with *InUseError while a
// node owns a block of it or a reservation lies in it.
func (s *Editor) RemovePool(ctx context.Context, base *Config, name string, note Note) (*Config, error) {
	if _, ok := base.Pools[name]; !ok {
		return nil, fmt.Errorf("lease: remove pool %q: there is no such pool", name)
	}
	next := base.Clone()
	delete(next.Pools, name)
	delete(next.PoolRevisions, name)
	return s.guarded(ctx, base, next, []string{name}, note)
}

// guarded carries a change out by whatever guards it.
func (s *Editor) guarded(ctx context.Context, base, next *Config, pools []string, note Note) (*Config, error) {
	return s.commit(ctx, func() (change, error) {
		g, err := s.guard(ctx, base, next, pools)
		return change{base: base, next: next, note: note, pools: pools, guard: g}, err
	})
}

// commit carries a change out. Every change of the configuration goes through here: one transaction that compares the revision of
// the base and writes revision, history and objects. Prepare reads what the change depends on, and is called again when that has
// changed meanwhile. Former gateways that agents have freed meanwhile are no conflict: the change is rebased.
func (s *Editor) commit(ctx context.Context, prepare func() (change, error)) (*Config, error) {
	const patience = 10 // how often what the change depends on may have changed
	when := s.kv.Clock.Wall()
	var freed *Config // the base after agents have freed former gateways
	for try := 1; ; try++ {
		c, err := prepare()
		if err != nil {
			return nil, err
		}
		if freed != nil {
			c = c.onto(freed)
		}
		after, moved, err := s.commitOnce(ctx, c, when)
		if conflict, is := errors.AsType[*ConflictError](err); is {
			now, unread := s.freedSince(ctx, c, conflict)
			if unread != nil {
				return nil, unread
			}
			if now != nil {
				freed, moved, err = now, true, nil
			}
		}
		if err != nil || !moved {
			return after, err
		}
		if try == patience {
			return nil, fmt.Errorf("lease: change the configuration: what it depends on keeps changing: try again")
		}
	}
}

// commitOnce reports in moved that the base is still the present configuration, while what else the change depends
// on is not as it was.
func (s *Editor) commitOnce(ctx context.Context, c change, when time.Time) (after *Config, moved bool, err error) {
	c.next.Former = retire(c.base, c.next, c.pools)
	entry := c.entry(when)
	t := kv.Transact("configure")
	t.If(kv.Unchanged(s.kv.Keys.Revision(), c.base.keyAt()), kv.Absent(s.kv.Keys.History(entry.Number)))
	t.If(c.compares...)
	t.Then(s.writes(c, entry)...)
	t.Then(c.ops...)
	revision := t.Else(s.kv.Keys.Revision())
	first := t.Else(s.kv.Keys.History(entry.Number)) // the number of the change that came before ours is known, whoever made it
	if ops := t.Size(); ops > kv.MaxOps {
		return nil, false, fmt.Errorf("lease: change the configuration: it takes %d operations, and one transaction of etcd has %d: "+
			"change fewer things at once", ops, kv.MaxOps)
	}
	if err := s.kv.Execute(ctx, t); err != nil {
		return nil, false, err
	}
	if t.Done {
		return c.at(entry.Number, t.Revision()), false, nil
	}
	if revision.Revision() == c.base.keyAt() {
		if first.Found() { // the record of the revision says less changes than there were: the history counts
			var err error
			if c.base.Changes, err = s.newestChange(ctx); err != nil {
				return nil, false, err
			}
		}
		return nil, true, nil
	}
	if !first.Found() {
		return nil, false, fmt.Errorf("lease: change the configuration: the base is none that ever was: read the configuration and change that")
	}
	winner, err := record.HistoryCodec.Read(s.kv.Keys, first.KVs[0])
	switch {
	case err != nil:
		return nil, false, err
	case string(first.KVs[0].Value) == kv.Encode(entry):
		return c.at(entry.Number, winner.Revision), false, nil // ours: an earlier answer was lost
	}
	return nil, false, &ConflictError{Winner: winner}
}

// entry is the change's record in the history.
func (c *change) entry(when time.Time) record.HistoryEntry {
	e := record.HistoryEntry{
		Number: c.base.Changes + 1, Who: c.note.Who, When: when, Message: c.note.Message, Changes: differences(c.base, c.next, c.pools),
	}
	for _, f := range c.base.Former {
		if !isFormer(c.next.Former, f.Address) {
			e.Changes = append(e.Changes, record.Change{Object: record.FormerGateways, Field: "kept from containers", Before: f.Address.String()})
		}
	}
	if c.settingsDiffer() {
		e.Before.Settings, e.After.Settings = &c.base.Settings, &c.next.Settings
	}
	for _, name := range c.pools {
		if pool, ok := c.base.Pools[name]; ok {
			e.Before.Pools = append(e.Before.Pools, pool)
		}
		if pool, ok := c.next.Pools[name]; ok {
			e.After.Pools = append(e.After.Pools, pool)
		}
	}
	return e
}

// writes are the operations on the configuration's keys.
func (s *Editor) writes(c change, entry record.HistoryEntry) []clientv3.Op {
	pools := len(c.next.Pools)
	ops := []clientv3.Op{
		kv.Put(s.kv.Keys.Revision(), record.Changes{
			Changes: entry.Number, Pools: &pools, Settings: c.base.settled || c.settingsDiffer(), Former: c.next.Former,
		}),
		kv.Put(s.kv.Keys.History(entry.Number), entry),
	}
	if c.settingsDiffer() || slices.Contains(c.base.repairable(), kv.Key{Kind: kv.KindSettings}) {
		ops = append(ops, kv.Put(s.kv.Keys.Settings(), c.next.Settings))
	}
	for _, name := range c.written() {
		if pool, stays := c.next.Pools[name]; stays {
			ops = append(ops, kv.Put(s.kv.Keys.Pool(name), pool))
		} else {
			ops = append(ops, clientv3.OpDelete(s.kv.Keys.Pool(name)))
		}
	}
	return ops
}

func (c *change) settingsDiffer() bool {
	return c.base.Unsettled && !c.next.Unsettled || len(diff("", fields(c.base.Settings), fields(c.next.Settings))) > 0
}

// at is the next configuration once it has been written.
func (c *change) at(number, revision int64) *Config {
	after := c.next.Clone()
	after.Revision, after.Read, after.Changes = revision, revision, number
	after.keyless, after.settled = false, c.base.settled || c.settingsDiffer()
	repaired := c.base.repairable()
	if c.settingsDiffer() {
		repaired = append(repaired, kv.Key{Kind: kv.KindSettings})
	}
	after.Bad = slices.DeleteFunc(slices.Clone(c.base.Bad), func(e *kv.DamagedError) bool { return slices.Contains(repaired, e.At) })
	if after.PoolRevisions == nil {
		after.PoolRevisions = map[string]int64{}
	}
	for _, name := range c.written() {
		if _, stays := after.Pools[name]; stays {
			after.PoolRevisions[name] = revision
		}
	}
	after.spreadFormer()
	return after
}

// written are the pools whose records the change writes: those that differ, and those that are to be repaired.
func (c *change) written() []string {
	names := slices.Clone(c.pools)
	for _, key := range c.base.repairable() {
		if key.Kind == kv.KindPool && !slices.Contains(names, key.Pool) {
			names = append(names, key.Pool)
		}
	}
	return names
}
