package config

import (
	"context"
	"fmt"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A PoolUse counts what of a pool is in use.
type PoolUse struct {
	Blocks       int `json:"blocks"`       // that nodes own, wholly or in part
	Assignments  int `json:"assignments"`  // stateless addresses that containers have
	Attached     int `json:"attached"`     // reserved addresses that containers have
	Reservations int `json:"reservations"` // reserved addresses, those included
}

// Idle reports whether nothing of a pool is in use but blocks that nodes have ready: they give them back when the pool is
// draining.
func (u PoolUse) Idle() bool { return u.Blocks > 0 && u.drainedBut(u.Blocks) && u.Reservations == 0 }

func (u PoolUse) drainedBut(blocks int) bool {
	return u.Blocks == blocks && u.Assignments == 0 && u.Attached == 0
}

// drained reports whether nothing is left but what a person must decide on: reservations of members that do not run.
func (u PoolUse) drained() bool { return u.drainedBut(0) }

// Drain marks a pool of base as one to be removed: from then on nodes allocate nothing of it anew, and give back what
// they do not use. Applying a manifest that says so undoes it, and so does restoring a configuration from before.
func (s *Editor) Drain(ctx context.Context, base *Config, name string, note Note) (*Config, error) {
	pool, ok := base.Pools[name]
	if !ok {
		return nil, fmt.Errorf("lease: drain pool %q: there is no such pool", name)
	}
	pool.Draining = true
	next := base.Clone()
	next.Pools[name] = pool
	return s.Apply(ctx, base, next, note)
}

// WaitDrained waits until no node owns a block of a pool and no container has an address of it. It calls progress, if
// that is not nil, with each state that it reads. It outlasts times without etcd. When ctx ends it returns what was in
// use last, and ctx's error; where somebody has taken the pool back into use meanwhile, ErrNotDraining.
func (s *Editor) WaitDrained(ctx context.Context, name string, progress func(PoolUse)) (PoolUse, error) {
	var last PoolUse
	for {
		use, at, err := s.use(ctx, name)
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case err == nil:
			if progress != nil {
				progress(use)
			}
			if last = use; use.drained() {
				return use, nil
			}
			if pool, err := kv.One(ctx, s.kv, record.PoolCodec, s.kv.Keys.Pool(name)); err == nil && (pool == nil || !pool.Draining) {
				return use, fmt.Errorf("lease: pool %q: %w", name, ErrNotDraining)
			}
			keys := s.kv.Keys
			s.kv.Changed(ctx, at, keys.Under(kv.KindBlock, name), keys.Under(kv.KindAssignment, name), keys.Under(kv.KindReservation, name))
		case !kv.Unavailable(err):
			return last, err
		}
		_ = task.Pause(ctx, kv.GatherTime)
	}
}

// Use counts what of a pool is in use.
func (s *Editor) Use(ctx context.Context, name string) (PoolUse, error) {
	use, _, err := s.use(ctx, name)
	return use, err
}

// use counts what of a pool is in use. All that is written after at may not be counted.
func (s *Editor) use(ctx context.Context, name string) (use PoolUse, at int64, err error) {
	blocks, at, err := kv.List(ctx, s.kv, record.BlockCodec, name)
	if err != nil {
		return use, 0, err
	}
	assignments, _, err := kv.List(ctx, s.kv, record.AssignmentCodec, name)
	if err != nil {
		return use, 0, err
	}
	reservations, _, err := kv.List(ctx, s.kv, record.ReservationCodec, name)
	if err != nil {
		return use, 0, err
	}
	for _, b := range blocks {
		if b.OfNodes() {
			use.Blocks++
		}
	}
	for _, r := range reservations {
		if r.Holder != nil {
			use.Attached++
		}
	}
	use.Assignments, use.Reservations = len(assignments), len(reservations)
	return use, at, nil
}
