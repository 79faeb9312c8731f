package config

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/lease/record"
)

// At is the configuration as it was after change n, from 1, on the revision of the present one: what Apply and Restore
// need to bring it back. It takes the history back, change by change.
func (s *Editor) At(ctx context.Context, n int64) (*Config, error) {
	c, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	if c.Changes == 0 {
		return nil, fmt.Errorf("lease: configuration after change %d: there was no change yet: apply a configuration first", n)
	}
	if n < 1 || n > c.Changes {
		return nil, fmt.Errorf("lease: configuration after change %d: want a number from 1 to %d, as the history has them", n, c.Changes)
	}
	history, err := s.History(ctx)
	if err != nil {
		return nil, err
	}
	for change := c.Changes; change > n; change-- {
		i := slices.IndexFunc(history, func(h record.HistoryEntry) bool { return h.Number == change })
		if i < 0 {
			return nil, fmt.Errorf("lease: configuration after change %d: the history has no change %d any more, or it cannot be read: "+
				"see berthctl doctor", n, change)
		}
		c.undo(history[i])
	}
	return c, nil
}

// undo makes of the configuration after a change the one before it.
func (c *Config) undo(h record.HistoryEntry) {
	if h.Before.Settings != nil {
		c.Settings, c.Unsettled = *h.Before.Settings, false
	}
	for _, pool := range h.After.Pools {
		delete(c.Pools, pool.Name)
	}
	for _, pool := range h.Before.Pools {
		c.Pools[pool.Name] = pool
	}
}

// Restore makes then, which is an older configuration, of base, in as many changes as Apply, and returns what is there now.
// A pool that then does not have is removed, unless it is in use: such a pool stays as it is, and kept says why. Errors are
// those of Apply.
func (s *Editor) Restore(ctx context.Context, base, then *Config, note Note) (after *Config, kept []*InUseError, err error) {
	const patience = 10 // how often a pool may come into use after it was looked at
	for try := 1; ; try++ {
		next, kept, err := s.Restorable(ctx, base, then)
		if err != nil {
			return nil, nil, err
		}
		steps, err := s.planSteps(ctx, base, next)
		if err != nil {
			return nil, nil, fmt.Errorf("lease: restore: %w", err)
		}
		after, err := s.carryOut(ctx, base, steps, Applying{Note: note})
		_, used := errors.AsType[*InUseError](err)
		_, some := errors.AsType[*PartialError](err)
		if used && !some && try < patience { // nothing is in yet
			continue
		}
		return after, kept, err
	}
}

// Restorable is what Restore would make of base at this moment.
func (s *Editor) Restorable(ctx context.Context, base, then *Config) (next *Config, kept []*InUseError, err error) {
	next = then.Clone()
	next.Former = slices.Clone(base.Former)
	for _, name := range poolNames(base, base) {
		if _, stays := then.Pools[name]; stays {
			continue
		}
		_, err := s.guardUnused(ctx, name)
		if use, ok := errors.AsType[*InUseError](err); ok {
			kept = append(kept, use)
			next.Pools[name] = base.Pools[name]
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		delete(next.PoolRevisions, name)
	}
	if err := validRestore(base, next); err != nil {
		return nil, nil, fmt.Errorf("lease: restore: %w", err)
	}
	steps, err := s.planSteps(ctx, base, next)
	if err == nil {
		err = s.checkSteps(ctx, base, steps)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("lease: restore: %w", err)
	}
	return next, kept, nil
}

// validRestore is validateChange, but pools may be missing.
func validRestore(base, next *Config) error {
	staying := base.Clone()
	for name := range base.Pools {
		if _, stays := next.Pools[name]; !stays {
			delete(staying.Pools, name)
		}
	}
	return validateChange(staying, next)
}
