package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A Store is the configuration as it is read.
type Store struct{ kv *kv.Client }

// New is the store of a client.
func New(kv *kv.Client) *Store { return &Store{kv} }

// A Config is the whole configuration of the cluster at one revision: the version.
type Config struct {
	Revision      int64 // the mod revision of the key that every change touches; 0: nobody has configured anything
	Changes       int64 // how many there were
	Settings      record.Settings
	Pools         map[string]allocator.Pool
	PoolRevisions map[string]int64 // the mod revision of each pool's key
	Former        []record.Former  // gateways that were, and that some node may still have

	// Bad are the records that cannot be read or that no change has written. What the last change wrote, by the history, counts
	// instead. Where the history does not have that, a pool is missing in Pools; or Unsettled is set and Settings are the
	// defaults: then the reader goes on with what it knows.
	Bad       []*kv.DamagedError
	Unsettled bool
	Read      int64 // etcd's revision that all this was read at

	keyless bool // the key that every change touches is missing
	settled bool // somebody has configured settings
}

// keyAt is the mod revision of the key that every change touches.
func (c *Config) keyAt() int64 {
	if c.keyless {
		return 0
	}
	return c.Revision
}

// Clone is a copy that can be changed without changing c. The pools' lists are shared: whoever changes one makes it anew.
func (c *Config) Clone() *Config {
	clone := *c
	clone.Settings.Operations = slices.Clone(c.Settings.Operations)
	clone.Pools, clone.PoolRevisions = maps.Clone(c.Pools), maps.Clone(c.PoolRevisions)
	clone.Bad, clone.Former = slices.Clone(c.Bad), slices.Clone(c.Former)
	return &clone
}

// PutPool makes a pool one of c's.
func (c *Config) PutPool(pool allocator.Pool) {
	if c.Pools == nil {
		c.Pools = map[string]allocator.Pool{}
	}
	c.Pools[pool.Name] = pool
}

// validate reports the first thing in c that is not valid, whatever was there before.
func (c *Config) validate() error {
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
	if err := allocator.Overlap(pools...); err != nil {
		return err
	}
	return misplacedGateway(pools)
}

// misplacedGateway reports a gateway beyond its own pool that lies in another: that one would give it to containers. The gateway of
// a routed pool is beyond it.
func misplacedGateway(pools []allocator.Pool) error {
	for _, pool := range pools {
		for _, g := range pool.AllGateways() {
			if pool.Contains(g) {
				continue
			}
			for _, other := range pools {
				switch {
				case other.Contains(g) && pool.Layer3():
					return fmt.Errorf("pool %q has mode %s, and the gateway of its containers, %s, lies in pool %q, which gives its addresses "+
						"to containers: want another pool in place of %q, or flat mode", pool.Name, pool.Mode, g, other.Name, other.Name)
				case other.Contains(g):
					return fmt.Errorf("pool %q: gateway %s lies in pool %q, "+
						"which gives its addresses to containers: want one in %q itself, or in no pool", pool.Name, g, other.Name, pool.Name)
				}
			}
		}
	}
	return nil
}

// validateChange reports the first thing that keeps base from becoming next, but for what depends on who owns which
// block: that is decided when the change is applied.
func validateChange(base, next *Config) error {
	if err := next.validate(); err != nil {
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

// BadPool is what is wrong with a pool's record; nil: nothing.
func (c *Config) BadPool(name string) *kv.DamagedError {
	for _, bad := range c.Bad {
		if bad.At.Kind == kv.KindPool && bad.At.Pool == name {
			return bad
		}
	}
	return nil
}

// KeepKnown is c with the pools and settings that it does not know as they were before. A pool whose record cannot be read has no
// revision then, so that nothing new is claimed of it. Where nobody has configured anything the settings stay as they were, too.
func (c *Config) KeepKnown(before *Config) *Config {
	next := c.Clone()
	for _, bad := range c.Bad {
		name := bad.At.Pool
		was, known := before.Pools[name]
		if _, is := c.Pools[name]; bad.At.Kind == kv.KindPool && !is && known && !errors.Is(bad.Err, errNoChange) {
			next.Pools[name] = was
			delete(next.PoolRevisions, name)
		}
	}
	switch {
	case c.Unsettled && before.Revision > 0 && !before.Unsettled:
		next.Settings, next.Unsettled = before.Settings, false
	case c.Revision == 0 && !c.settled && reflect.DeepEqual(c.Settings, record.DefaultSettings()):
		next.Settings = before.Settings // a node that knew the cluster's goes on with those: its right is no longer than others wait for
	}
	return next
}

// Same reports whether two configurations say the same, and the same of what is wrong with their records.
func (c *Config) Same(other *Config) bool {
	return c.Revision == other.Revision && c.Unsettled == other.Unsettled && reflect.DeepEqual(c.Settings, other.Settings) &&
		reflect.DeepEqual(c.Pools, other.Pools) && slices.Equal(c.Former, other.Former) && maps.Equal(c.PoolRevisions, other.PoolRevisions) &&
		slices.EqualFunc(c.Bad, other.Bad, func(a, b *kv.DamagedError) bool { return a.Error() == b.Error() })
}

// Read reads the whole configuration, at one revision. A record that cannot be read keeps nothing else from being
// read: see Config.Bad.
func (s *Store) Read(ctx context.Context) (*Config, error) {
	all, history := s.kv.Keys.Under("config"), s.kv.Keys.Under(kv.KindHistory)
	t := kv.Transact("read configuration")
	below := t.Else(all, clientv3.WithRange(history))
	above := t.Else(clientv3.GetPrefixRangeEnd(history), clientv3.WithRange(clientv3.GetPrefixRangeEnd(all)))
	changed := t.Else(history, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err := s.kv.Query(ctx, kv.CallTime, t); err != nil {
		return nil, err
	}
	return s.Of(ctx, slices.Concat(below.KVs, above.KVs), changed.Found(), t.Revision())
}

// Of is the configuration that its keys make, as they were at a revision. History says whether there is one.
func (s *Store) Of(ctx context.Context, kvs []*mvccpb.KeyValue, history bool, revision int64) (*Config, error) {
	r := readConfig(s.kv.Keys, kvs)
	r.Read, r.history = revision, history
	var uses []*mvccpb.KeyValue
	if r.empty() {
		var err error
		if uses, err = s.uses(ctx, revision); err != nil {
			return nil, fmt.Errorf("whether there was a configuration: %w", err)
		}
	}
	if r.doubtful() || len(uses) > 0 {
		if err := s.completeConfig(ctx, r, kvs, uses); err != nil {
			return nil, fmt.Errorf("what the configuration is to be: %w", err)
		}
	}
	r.spreadFormer()
	return r.Config, nil
}

// Follow calls f with the present configuration, and then with newer ones; of several in quick succession f may get the last one
// alone. A record that is damaged or repaired makes a new one, too. It calls read after each try to read it, with the error or
// nil. It returns only when ctx ends, with ctx's error.
func (s *Store) Follow(ctx context.Context, f func(*Config), read func(error)) error {
	var last *Config // that f was called with
	of := 0          // the incarnation that it is of
	update := func(ctx context.Context, incarnation int) (*Config, error) {
		c, err := s.Read(ctx)
		if ctx.Err() == nil {
			read(err)
		}
		if err != nil {
			return nil, err
		}
		goesOn := s.kv.Incarnation.Within(ctx, incarnation, func() {
			if last == nil || incarnation != of || !c.Same(last) {
				last, of = c, incarnation
				f(c)
			}
		})
		if !goesOn {
			return nil, kv.ErrStoreReset
		}
		return c, nil
	}
	return s.kv.EachIncarnation(ctx, func(ctx context.Context, incarnation int) {
		c, err := update(ctx, incarnation)
		if err != nil {
			return
		}
		s.kv.Watch(ctx, s.kv.Keys.Under("config"), c.Read, func([]*clientv3.Event) bool {
			_, err := update(ctx, incarnation)
			return err == nil
		})
	})
}
