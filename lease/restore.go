package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// At is the configuration as it was after change n, from 1, on the revision of the present one: what Apply and Restore
// need to bring it back. It takes the history back, change by change.
func (s *Store) At(ctx context.Context, n int64) (*Config, error) {
	c, err := s.Config(ctx)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > c.Changes {
		return nil, fmt.Errorf("lease: configuration after change %d: want a number from 1 to %d, as the history has them", n, c.Changes)
	}
	history, err := s.History(ctx)
	if err != nil {
		return nil, err
	}
	for change := c.Changes; change > n; change-- {
		i := slices.IndexFunc(history, func(h HistoryEntry) bool { return h.Number == change })
		if i < 0 {
			return nil, fmt.Errorf("lease: configuration after change %d: the history has no change %d any more", n, change)
		}
		c.undo(history[i])
	}
	return c, nil
}

// undo makes of the configuration after a change the one before it.
func (c *Config) undo(h HistoryEntry) {
	if h.Before.Settings != nil {
		c.Settings = *h.Before.Settings
	}
	for _, pool := range h.After.Pools {
		delete(c.Pools, pool.Name)
	}
	for _, pool := range h.Before.Pools {
		c.Pools[pool.Name] = pool
	}
}

// Restore makes then, which is an older configuration, of base, in one transaction, and returns what is there now. A
// pool that then does not have is removed, unless it is in use: such a pool stays as it is, and kept says why. Errors
// are those of Apply.
func (s *Store) Restore(ctx context.Context, base, then *Config, note Note) (after *Config, kept []*InUseError, err error) {
	next, kept, err := s.Restorable(ctx, base, then)
	if err != nil {
		return nil, nil, err
	}
	if len(Diff(base, next)) == 0 {
		return base, kept, nil
	}
	after, err = s.change(ctx, func() (change, error) {
		// What is in use may have changed since it was tried last.
		c, in, err := s.restoring(ctx, base, then)
		c.note, kept = note, in
		return c, err
	})
	if err != nil {
		return nil, nil, err
	}
	return after, kept, nil
}

// Restorable is what Restore would make of base at this moment.
func (s *Store) Restorable(ctx context.Context, base, then *Config) (next *Config, kept []*InUseError, err error) {
	c, kept, err := s.restoring(ctx, base, then)
	return c.next, kept, err
}

func (s *Store) restoring(ctx context.Context, base, then *Config) (c change, kept []*InUseError, err error) {
	c = change{base: base, next: then.Clone()}
	for _, name := range poolNames(base, base) {
		if _, stays := then.Pools[name]; stays {
			continue
		}
		guards, err := s.guardUnused(ctx, name)
		if use, ok := errors.AsType[*InUseError](err); ok {
			kept = append(kept, use)
			c.next.Pools[name] = base.Pools[name]
			continue
		}
		if err != nil {
			return c, nil, err
		}
		delete(c.next.PoolRevisions, name)
		c.compares = append(c.compares, guards...)
		c.deletes = append(c.deletes, s.deleteBlocks(name))
	}
	if err := validRestore(base, c.next); err != nil {
		return c, nil, fmt.Errorf("lease: restore: %w", err)
	}
	guards, err := s.guardGrowth(ctx, base, c.next)
	c.compares = append(c.compares, guards...)
	return c, kept, err
}

// validRestore is ValidateChange, but pools may be missing.
func validRestore(base, next *Config) error {
	staying := base.Clone()
	for name := range base.Pools {
		if _, stays := next.Pools[name]; !stays {
			delete(staying.Pools, name)
		}
	}
	return ValidateChange(staying, next)
}
