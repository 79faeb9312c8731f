package config

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

type (
	Change = change
	Guard  = guard
)

// ChangeOf is a change of pools under a guard.
func ChangeOf(base, next *Config, note Note, g Guard, pools ...string) Change {
	return change{base: base, next: next, note: note, pools: pools, guard: g}
}

func GuardOf(compares []clientv3.Cmp) Guard { return guard{compares: compares} }

func (g guard) Compares() []clientv3.Cmp { return g.compares }

func (c *Config) Settled() bool { return c.settled }

func (s *Editor) Guard(ctx context.Context, base, next *Config, pools []string) (Guard, error) {
	return s.guard(ctx, base, next, pools)
}

func (s *Editor) GuardUnused(ctx context.Context, pool string) (Guard, error) {
	return s.guardUnused(ctx, pool)
}

func (s *Editor) FreeShrunk(ctx context.Context, pool allocator.Pool, revision int64) error {
	return s.freeShrunk(ctx, pool, revision)
}

func (s *Editor) Commit(ctx context.Context, prepare func() (Change, error)) (*Config, error) {
	return s.commit(ctx, prepare)
}

func (s *Editor) CommitOnce(ctx context.Context, c Change, when time.Time) (after *Config, moved bool, err error) {
	return s.commitOnce(ctx, c, when)
}

func (c *Config) Repairable() []kv.Key { return c.repairable() }
