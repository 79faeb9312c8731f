package lease

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A change is what one transaction does to the configuration.
type change struct {
	base, next *Config
	note       Note
	compares   []clientv3.Cmp // besides that of the revision
	deletes    []clientv3.Op
}

// Apply makes next of the configuration base in one transaction and returns what is there now. Where they do not
// differ it writes nothing and returns base. Pools are not removed. It fails with *ConflictError if base is not the
// present configuration, and with *GrowError if a stateful range would grow over a node's block.
func (s *Store) Apply(ctx context.Context, base, next *Config, note Note) (*Config, error) {
	if err := ValidateChange(base, next); err != nil {
		return nil, fmt.Errorf("lease: apply: %w", err)
	}
	if len(Diff(base, next)) == 0 {
		return base, nil
	}
	return s.change(ctx, func() (change, error) {
		guards, err := s.guardGrowth(ctx, base, next)
		return change{base: base, next: next, note: note, compares: guards}, err
	})
}

// RemovePool takes a pool out of the configuration, with the blocks that only reservations could have used. It fails
// with *InUseError while a node owns a block of it or a reservation lies in it.
func (s *Store) RemovePool(ctx context.Context, base *Config, name string, note Note) (*Config, error) {
	if _, ok := base.Pools[name]; !ok {
		return nil, fmt.Errorf("lease: remove pool %q: there is no such pool", name)
	}
	next := base.Clone()
	delete(next.Pools, name)
	delete(next.PoolRevisions, name)
	return s.change(ctx, func() (change, error) {
		guards, err := s.guardUnused(ctx, name)
		return change{base: base, next: next, note: note, compares: guards, deletes: []clientv3.Op{s.deleteBlocks(name)}}, err
	})
}

func (s *Store) deleteBlocks(pool string) clientv3.Op {
	return clientv3.OpDelete(s.keys.Under(KindBlock, pool), clientv3.WithPrefix())
}

// guardGrowth looks whether a node owns what a stateful range is to grow over, and gives compares that no block of
// such a pool has changed since.
func (s *Store) guardGrowth(ctx context.Context, base, next *Config) (guards []clientv3.Cmp, err error) {
	for name, pool := range next.Pools {
		former, known := base.Pools[name]
		if !known || !grows(&former, &pool) {
			continue
		}
		blocks, revision, err := list(ctx, s, blockForm, name)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			for _, part := range b.Parts {
				if part.Owner != OwnerStateful && pool.InStateful(part.Prefix.Addr()) {
					return nil, &GrowError{Pool: name, Node: part.Owner, Block: b.Prefix}
				}
			}
		}
		guards = append(guards, s.untouched(KindBlock, name, revision))
	}
	return guards, nil
}

func grows(former, pool *allocator.Pool) bool {
	for _, r := range pool.Stateful {
		covered := func(by netip.Prefix) bool { return by.Bits() <= r.Bits() && by.Contains(r.Addr()) }
		inside := false
		for _, f := range former.Stateful {
			inside = inside || covered(f)
		}
		if !inside {
			return true
		}
	}
	return false
}

// guardUnused looks whether a pool is in use, and gives compares that it has not come into use since.
func (s *Store) guardUnused(ctx context.Context, pool string) ([]clientv3.Cmp, error) {
	const examples = 3
	use := &InUseError{Pool: pool}
	tell := func(format string, args ...any) {
		if len(use.Examples) < examples {
			use.Examples = append(use.Examples, fmt.Sprintf(format, args...))
		}
	}
	blocks, blocksAt, err := list(ctx, s, blockForm, pool)
	if err != nil {
		return nil, err
	}
	for _, b := range blocks {
		for _, part := range b.Parts {
			if part.Owner != OwnerStateful {
				use.Blocks++
				tell("block %s of node %s", part.Prefix, part.Owner)
			}
		}
	}
	reservations, reservationsAt, err := list(ctx, s, reservationForm, pool)
	if err != nil {
		return nil, err
	}
	for _, r := range reservations {
		use.Reservations++
		tell("%s for %s", r.Address, r.Identity)
	}
	if use.Blocks+use.Reservations > 0 {
		return nil, use
	}
	return []clientv3.Cmp{s.untouched(KindBlock, pool, blocksAt), s.untouched(KindReservation, pool, reservationsAt)}, nil
}

// untouched compares that no record of a pool was written after a revision.
func (s *Store) untouched(kind Kind, pool string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(s.keys.Under(kind, pool)), "<", revision+1).WithPrefix()
}

// change carries a change out. Every change of the configuration goes through here: one transaction that compares the
// revision of the base and writes revision, history and objects. Prepare reads what the change depends on, and is
// asked again when that has changed meanwhile.
func (s *Store) change(ctx context.Context, prepare func() (change, error)) (*Config, error) {
	const patience = 10 // how often what the change depends on may have changed
	when := time.Now().UTC()
	for try := 1; ; try++ {
		c, err := prepare()
		if err != nil {
			return nil, err
		}
		after, moved, err := s.commitChange(ctx, c, when)
		if err != nil || !moved {
			return after, err
		}
		if try == patience {
			return nil, fmt.Errorf("lease: change the configuration: what it depends on keeps changing: try again")
		}
	}
}

// commitChange reports in moved that the base is still the present configuration, while what else the change depends
// on is not as it was.
func (s *Store) commitChange(ctx context.Context, c change, when time.Time) (after *Config, moved bool, err error) {
	entry := c.entry(when)
	t := transaction{
		If:   append([]clientv3.Cmp{unchanged(s.keys.revision(), c.base.Revision)}, c.compares...),
		Then: append(s.writes(c, entry), c.deletes...),
		// The number of the change that came before ours is known, whoever made it.
		Else: []clientv3.Op{clientv3.OpGet(s.keys.revision()), clientv3.OpGet(s.keys.history(entry.Number))},
	}
	if ops := max(len(t.Then), len(t.If)); ops > maxOps {
		return nil, false, fmt.Errorf("lease: change the configuration: it takes %d operations, and one transaction of etcd has %d: apply fewer pools at once", ops, maxOps)
	}
	response, err := s.settle(ctx, "configure", t)
	if err != nil {
		return nil, false, err
	}
	if response.Succeeded {
		return c.at(entry.Number, response.Header.Revision), false, nil
	}
	if revisionOf(found(response, 0)) == c.base.Revision {
		return nil, true, nil
	}
	first := found(response, 1)
	if len(first) == 0 {
		return nil, false, fmt.Errorf("lease: change the configuration: the base is none that ever was: read the configuration and change that")
	}
	winner, err := historyForm.read(s.keys, first[0])
	switch {
	case err != nil:
		return nil, false, err
	case string(first[0].Value) == encode(entry):
		return c.at(entry.Number, winner.Revision), false, nil // ours: an earlier answer was lost
	}
	return nil, false, &ConflictError{Winner: winner}
}

// entry is the change's record in the history.
func (c *change) entry(when time.Time) HistoryEntry {
	e := HistoryEntry{
		Number: c.base.Changes + 1, Who: c.note.Who, When: when, Message: c.note.Message, Changes: Diff(c.base, c.next),
	}
	if c.settingsDiffer() {
		e.Before.Settings, e.After.Settings = &c.base.Settings, &c.next.Settings
	}
	for _, name := range c.pools() {
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
func (s *Store) writes(c change, entry HistoryEntry) []clientv3.Op {
	ops := []clientv3.Op{
		put(s.keys.revision(), changeCount{entry.Number}),
		put(s.keys.history(entry.Number), entry),
	}
	if c.settingsDiffer() {
		ops = append(ops, put(s.keys.settings(), c.next.Settings))
	}
	for _, name := range c.pools() {
		if pool, stays := c.next.Pools[name]; stays {
			ops = append(ops, put(s.keys.pool(name), pool))
		} else {
			ops = append(ops, clientv3.OpDelete(s.keys.pool(name)))
		}
	}
	return ops
}

func (c *change) settingsDiffer() bool {
	return len(diff("", fields(c.base.Settings), fields(c.next.Settings))) > 0
}

// pools are the names of those that differ.
func (c *change) pools() (names []string) {
	for _, name := range poolNames(c.base, c.next) {
		if len(diff("", poolFields(c.base, name), poolFields(c.next, name))) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// at is the next configuration once it has been written.
func (c *change) at(number, revision int64) *Config {
	after := c.next.Clone()
	after.Revision, after.Changes = revision, number
	if after.PoolRevisions == nil {
		after.PoolRevisions = map[string]int64{}
	}
	for _, name := range c.pools() {
		if _, stays := after.Pools[name]; stays {
			after.PoolRevisions[name] = revision
		}
	}
	return after
}
