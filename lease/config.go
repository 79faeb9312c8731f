package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A Config is the whole configuration of the cluster at one revision: the version.
type Config struct {
	Revision      int64 // the mod revision of the key that every change touches; 0: nobody has configured anything
	Changes       int64 // how many there were
	Settings      Settings
	Pools         map[string]allocator.Pool
	PoolRevisions map[string]int64 // the mod revision of each pool's key
	Former        []Former         // gateways that were, and that some node may still have
}

// changeCount is the value of the key that every change touches.
type changeCount struct {
	Changes int64    `json:"changes"`
	Former  []Former `json:"former,omitempty"`
}

// Clone is a copy that can be changed without changing c. The pools' lists are shared: whoever changes one makes it anew.
func (c *Config) Clone() *Config {
	clone := *c
	clone.Settings.Operations = slices.Clone(c.Settings.Operations)
	clone.Pools, clone.PoolRevisions, clone.Former = maps.Clone(c.Pools), maps.Clone(c.PoolRevisions), slices.Clone(c.Former)
	return &clone
}

// putPool makes a pool one of c's.
func (c *Config) putPool(pool allocator.Pool) {
	if c.Pools == nil {
		c.Pools = map[string]allocator.Pool{}
	}
	c.Pools[pool.Name] = pool
}

// Validate reports the first thing in c that cannot be, whatever was there before.
func (c *Config) Validate() error {
	if err := c.Settings.Validate(); err != nil {
		return err
	}
	var pools []allocator.Pool
	for _, name := range slices.Sorted(maps.Keys(c.Pools)) {
		pool := c.Pools[name]
		if err := pool.Validate(); err != nil {
			return err
		}
		if pool.Name != name {
			return fmt.Errorf("pool %q is listed as %q: want one name", pool.Name, name)
		}
		pools = append(pools, pool)
	}
	return allocator.Overlap(pools...)
}

// ValidateChange reports the first thing that keeps base from becoming next, but for what depends on who owns which
// block: that is decided when the change is applied.
func ValidateChange(base, next *Config) error {
	if err := next.Validate(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(base.Pools)) {
		pool, stays := next.Pools[name]
		if !stays {
			return fmt.Errorf("pool %q is missing: a change does not remove pools: want it as it was, or remove it on its own", name)
		}
		if err := allocator.ValidateChange(base.Pools[name], pool); err != nil {
			return err
		}
	}
	return nil
}

// Config reads the whole configuration, at one revision.
func (s *Store) Config(ctx context.Context) (*Config, error) {
	response, err := s.consult(ctx, callTime, "read configuration",
		clientv3.OpGet(s.keys.revision()), clientv3.OpGet(s.keys.settings()), clientv3.OpGet(s.keys.Under(KindPool), clientv3.WithPrefix()))
	if err != nil {
		return nil, err
	}
	c := &Config{Settings: DefaultSettings(), Pools: map[string]allocator.Pool{}, PoolRevisions: map[string]int64{}}
	revision, settings, pools := found(response, 0), found(response, 1), found(response, 2)
	if len(revision) > 0 {
		var n changeCount
		if err := json.Unmarshal(revision[0].Value, &n); err != nil {
			return nil, fmt.Errorf("lease: the record at %s cannot be read: %w", revision[0].Key, err)
		}
		c.Revision, c.Changes, c.Former = revision[0].ModRevision, n.Changes, n.Former
	}
	if len(settings) > 0 {
		if err := json.Unmarshal(settings[0].Value, &c.Settings); err != nil {
			return nil, fmt.Errorf("lease: the record at %s cannot be read: %w", settings[0].Key, err)
		}
	}
	for _, kv := range pools {
		pool, err := poolForm.read(s.keys, kv)
		if err != nil {
			return nil, err
		}
		c.Pools[pool.Name], c.PoolRevisions[pool.Name] = pool, kv.ModRevision
	}
	c.spreadFormer()
	return c, nil
}

// FollowConfig calls f with the present configuration, and then with newer ones; of several that follow each other
// fast f may get the last one alone. read is told of each attempt to read it, with its error or nil. It returns only when ctx
// ends, with ctx's error.
func (s *Store) FollowConfig(ctx context.Context, f func(*Config), read func(error)) error {
	last, of := int64(-1), 0 // the revision that f has got, and the life that it is of
	news := func(ctx context.Context, life int) (*Config, error) {
		c, err := s.Config(ctx)
		if ctx.Err() == nil {
			read(err)
		}
		if err != nil {
			return nil, err
		}
		goesOn := s.life.within(life, func() {
			if c.Revision != last || life != of {
				last, of = c.Revision, life
				f(c)
			}
		})
		if !goesOn {
			return nil, ErrOtherLife
		}
		return c, nil
	}
	return s.lifeByLife(ctx, func(ctx context.Context, life int) {
		c, err := news(ctx, life)
		if err != nil {
			return
		}
		s.watch(ctx, s.keys.revision(), c.Revision, func([]*clientv3.Event) bool {
			_, err := news(ctx, life)
			return err == nil
		})
	})
}
