package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// A change of the configuration that is more than one transaction can hold is several, each with its own revision and
// its own entry in the history.
const (
	stepOps   = 100     // what the pools of one step weigh at most, in operations or compares
	stepBytes = 1 << 20 // how large a step's request is at most; etcd takes 1.5 MiB (its --max-request-bytes)
)

// A changeStep is what one transaction of a change does.
type changeStep struct {
	next  *Config
	pools []string // that differ from the step before
	words string   // what is special about it
}

// An Applying has ApplyInSteps' note and callbacks.
type Applying struct {
	Note
	Done    func(step, steps int, after *Config) // called after each step; nil: not called
	Waiting func(why error)                      // called repeatedly while a node is waited for; nil: not called
}

// A PartialError says that the first of a change's steps are in, and why the others are not.
type PartialError struct {
	Revisions []int64 // of the steps that are in
	Steps     int
	Err       error
}

func (e *PartialError) Error() string {
	in := make([]string, len(e.Revisions))
	for i, r := range e.Revisions {
		in[i] = fmt.Sprint(r)
	}
	return fmt.Sprintf("lease: %d of the %d changes that this takes are in (%s %s); the next one: %v: apply again to go on",
		len(in), e.Steps, plural(len(in), "revision", "revisions"), strings.Join(in, ", "), e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Apply makes next of the configuration base and returns what is there now. It is one change, or several where one
// transaction cannot hold all or a gateway moves. Where they do not differ it writes nothing and returns base. Pools are not
// removed. It fails with *ConflictError if base is not the present configuration, and with *GrowError, *TakenError,
// *UnappliedError, *ModeError or *CIDRInUseError where somebody has what the change would take; with *PartialError where the first
// steps are in.
func (s *Editor) Apply(ctx context.Context, base, next *Config, note Note) (*Config, error) {
	return s.ApplyInSteps(ctx, base, next, Applying{Note: note})
}

// ApplyInSteps is Apply with callbacks.
func (s *Editor) ApplyInSteps(ctx context.Context, base, next *Config, how Applying) (*Config, error) {
	steps, err := s.plan(ctx, base, next)
	if err != nil {
		return nil, err
	}
	return s.carryOut(ctx, base, steps, how)
}

// Plan finds out what Apply would do at this moment: in how many changes, or why not at all. It writes nothing.
func (s *Editor) Plan(ctx context.Context, base, next *Config) (changes int, err error) {
	steps, err := s.plan(ctx, base, next)
	if err != nil {
		return 0, err
	}
	return len(steps), s.checkSteps(ctx, base, steps)
}

// checkSteps checks that each step could be carried out now.
func (s *Editor) checkSteps(ctx context.Context, base *Config, steps []changeStep) error {
	at := base
	for _, step := range steps {
		if _, err := s.guard(ctx, at, step.next, step.pools); err != nil {
			if _, later := errors.AsType[*UnappliedError](err); !later || len(steps) == 1 {
				return err
			}
		}
		at = step.next
	}
	return ctx.Err()
}

func (s *Editor) plan(ctx context.Context, base, next *Config) ([]changeStep, error) {
	if err := validateChange(base, next); err != nil {
		return nil, fmt.Errorf("lease: apply: %w", err)
	}
	if bad := base.unknownPool(); bad != nil {
		return nil, fmt.Errorf("lease: apply: what addresses the pool has is not known: %w", bad)
	}
	steps, err := s.planSteps(ctx, base, next)
	if err != nil {
		return nil, fmt.Errorf("lease: apply: %w", err)
	}
	if len(steps) == 0 && len(base.repairable()) > 0 {
		steps = append(steps, changeStep{next: base.Clone(), words: "damaged records are written anew"})
	}
	return steps, nil
}

// planSteps cuts the way from base to next into steps: first what becomes a gateway is excluded; then pools are removed,
// since others may be about to take their place; then all the rest is done, the settings with the first of it.
func (s *Editor) planSteps(ctx context.Context, base, next *Config) (steps []changeStep, err error) {
	pools := differing(base, next)
	first, excluded, err := s.excluding(ctx, base, next, pools)
	if err != nil {
		return nil, err
	}
	if steps, err = chunked(ctx, steps, base, first, excluded, "a gateway is about to move: its address is excluded"); err != nil {
		return nil, err
	}
	if len(steps) > 0 {
		base = steps[len(steps)-1].next
	}
	removed := slices.DeleteFunc(slices.Clone(pools), func(name string) bool { _, stays := next.Pools[name]; return stays })
	others := slices.DeleteFunc(slices.Clone(pools), func(name string) bool { _, stays := next.Pools[name]; return !stays })
	before := len(steps)
	if steps, err = chunked(ctx, steps, base, next, slices.Concat(removed, others), ""); err != nil {
		return nil, err
	}
	settings := change{base: base, next: next}
	switch differ := settings.settingsDiffer(); {
	case differ && len(steps) == before:
		with := base.Clone()
		with.Settings, with.Unsettled = next.Settings, next.Unsettled
		steps = append(steps, changeStep{next: with})
	case differ:
		for i := before; i < len(steps); i++ {
			steps[i].next.Settings, steps[i].next.Unsettled = next.Settings, next.Unsettled
		}
	}
	return steps, nil
}

// chunked appends the steps that bring the named pools from base to next.
func chunked(ctx context.Context, steps []changeStep, base, next *Config, pools []string, words string) ([]changeStep, error) {
	at, ops, bytes := base, 0, 0
	for _, name := range pools {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		weight, size := weigh(base, next, name)
		if size > stepBytes {
			return nil, fmt.Errorf("pool %q: its change would take %d bytes in etcd, which takes %d at once: give it fewer exclusions or routes",
				name, size, stepBytes)
		}
		if n := len(steps); ops == 0 || ops+weight > stepOps || bytes+size > stepBytes {
			if ops > 0 {
				at = steps[n-1].next
			}
			steps, ops, bytes = append(steps, changeStep{next: at.Clone(), words: words}), 0, 0
		}
		last := &steps[len(steps)-1]
		ops, bytes, last.pools = ops+weight, bytes+size, append(last.pools, name)
		if pool, stays := next.Pools[name]; stays {
			last.next.PutPool(pool)
		} else {
			delete(last.next.Pools, name)
			delete(last.next.PoolRevisions, name)
		}
	}
	return steps, nil
}

// weigh is how many operations or compares a pool's change takes, and about how many bytes: its record, the same in the
// history before and after, and the difference in words.
func weigh(base, next *Config, name string) (ops, bytes int) {
	was, known := base.Pools[name]
	is, stays := next.Pools[name]
	switch {
	case !known:
		return 1, 3 * len(kv.Encode(is))
	case !stays:
		return 2, 3 * len(kv.Encode(was))
	}
	ops = 1 + 3*len(newGateways(&was, &is)) + 2*len(allocator.Gone(&was, &is))
	if len(beyond(is.Stateful, was.Stateful))+len(beyond(was.Stateful, is.Stateful)) > 0 {
		ops += 8
	}
	if rewires(&was, &is) {
		ops += 2
	}
	return ops, 2*len(kv.Encode(was)) + 3*len(kv.Encode(is))
}

// carryOut does the steps, each upon the one before it.
func (s *Editor) carryOut(ctx context.Context, base *Config, steps []changeStep, how Applying) (*Config, error) {
	after := base
	var in []int64
	for i, step := range steps {
		next := step.next.Clone()
		next.Former = slices.Clone(after.Former)
		note := how.Note
		if step.words != "" {
			note.Message = strings.TrimPrefix(note.Message+": "+step.words, ": ")
		}
		from := after
		err := whenApplied(ctx, how.Waiting, func() (err error) {
			after, err = s.guarded(ctx, from, next, step.pools, note)
			return err
		})
		if err == nil {
			err = s.afterStep(ctx, from, after, step.pools)
		}
		if err != nil && len(in) > 0 {
			err = &PartialError{Revisions: in, Steps: len(steps), Err: err}
		}
		if err != nil {
			return nil, err
		}
		in = append(in, after.Revision)
		if how.Done != nil {
			how.Done(i+1, len(steps), after)
		}
	}
	return after, nil
}

// afterStep frees what a step has made useless.
func (s *Editor) afterStep(ctx context.Context, before, after *Config, pools []string) error {
	for _, name := range pools {
		was, is := before.Pools[name], after.Pools[name]
		if is.Name == "" || len(beyond(was.Stateful, is.Stateful)) == 0 {
			continue
		}
		if err := s.freeShrunk(ctx, is, after.PoolRevisions[name]); err != nil {
			return fmt.Errorf("lease: the change is in, as revision %d; the blocks of pool %q that its stateful ranges have lost could "+
				"not be freed (berthctl doctor --fix does it): %w", after.Revision, name, err)
		}
	}
	return nil
}
