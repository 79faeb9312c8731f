package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Every change of the configuration writes its objects, the key of the revision and a line of the history in one
// transaction. So the history has what each object is to be, wherever somebody has written or deleted one by hand.

// A rawConfig is the configuration as its keys have it, before it is completed from the history.
type rawConfig struct {
	*Config
	keys     kv.Keys
	count    *record.Changes // nil: its record is missing or cannot be read
	settings int64           // the mod revision of the settings' key
	pools    int             // how many keys of pools there are
	strange  bool            // something was written besides the changes
	history  bool            // there is a history
	counted  int64           // the revision that count was written at
}

// readConfig is the configuration as its keys have it.
func readConfig(keys kv.Keys, kvs []*mvccpb.KeyValue) *rawConfig {
	r := &rawConfig{keys: keys, Config: &Config{Settings: record.DefaultSettings(), Pools: map[string]allocator.Pool{},
		PoolRevisions: map[string]int64{}}}
	for _, pair := range kvs {
		if err := r.learn(pair); err != nil {
			r.Bad = append(r.Bad, kv.Damage(err))
		}
	}
	r.settled = r.settings > 0 || r.count != nil && r.count.Settings
	for name, revision := range r.PoolRevisions {
		_, readable := r.Pools[name]
		r.strange = r.strange || readable && revision > r.Revision
	}
	r.strange = r.strange || r.settings > r.Revision
	return r
}

func (r *rawConfig) learn(pair *mvccpb.KeyValue) error {
	key, err := r.keys.Parse(string(pair.Key))
	switch {
	case err != nil:
		_, err = record.PoolCodec.Read(r.keys, pair)
		return err
	case key.Kind == kv.KindRevision:
		r.Revision = pair.ModRevision
		count, err := record.RevisionCodec.Read(r.keys, pair)
		if err == nil {
			r.count, r.Changes, r.Former = &count, count.Changes, count.Former
		}
		return err
	case key.Kind == kv.KindSettings:
		r.settings = pair.ModRevision
		settings, err := record.SettingsCodec.Read(r.keys, pair)
		if err == nil {
			r.Settings = settings
		}
		return err
	}
	r.pools++
	r.PoolRevisions[key.Pool] = pair.ModRevision // also of one that cannot be read: it is what a claim compares
	pool, err := record.PoolCodec.Read(r.keys, pair)
	if err == nil {
		r.Pools[key.Pool] = pool
	}
	return err
}

// doubtful reports whether the history has to be read.
func (r *rawConfig) doubtful() bool {
	if r.count == nil {
		return !r.empty()
	}
	return len(r.Bad) > 0 || r.strange || r.settled && r.settings == 0 || r.count.Pools != nil && *r.count.Pools != r.pools
}

// empty reports whether there is no key at all.
func (r *rawConfig) empty() bool {
	return r.Revision == 0 && r.pools == 0 && r.settings == 0 && !r.history
}

// uses are the keys of blocks and reservations: without a configuration nobody could have claimed or reserved anything.
func (s *Store) uses(ctx context.Context, revision int64) (kvs []*mvccpb.KeyValue, err error) {
	for _, kind := range []kv.Kind{kv.KindBlock, kv.KindReservation} {
		found, err := s.kv.Scan(ctx, s.kv.Keys.Under(kind), clientv3.WithKeysOnly(), clientv3.WithRev(revision))
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, found.Kvs...)
	}
	return kvs, nil
}

// completeConfig replaces what cannot be read, is missing, or was written by hand by what etcd still has of it. kvs are the keys
// of r; uses are others that were written while there was a configuration.
func (s *Store) completeConfig(ctx context.Context, r *rawConfig, kvs, uses []*mvccpb.KeyValue) error {
	history, err := s.kv.Scan(ctx, s.kv.Keys.Under(kv.KindHistory), clientv3.WithRev(r.Read))
	if err != nil {
		return err
	}
	there := written(slices.Concat(kvs, history.Kvs, uses))
	if r.counted = r.Revision; r.count == nil {
		count, at, err := s.lastCount(ctx, kvAt(kvs, s.kv.Keys.Revision()), r.Read, there)
		if err != nil {
			return err
		}
		if count != nil {
			r.count, r.counted, r.Changes, r.Former = count, at, count.Changes, count.Former
			r.settled = r.settled || count.Settings
		}
	}
	h, err := s.recall(ctx, history.Kvs, r.Changes, r.counted, r.Read, there)
	if err != nil {
		return err
	}
	if r.count == nil && r.newer(h.last) {
		h.forget() // a change may be missing in it
	}
	if err := s.askForObjects(ctx, r, h, kvs, there); err != nil {
		return err
	}
	r.missUsed(h, uses)
	r.complete(h)
	return nil
}

// missUsed adds the pools of which somebody has something, and of which neither history nor etcd has what they were, to Bad.
func (r *rawConfig) missUsed(h *memory, uses []*mvccpb.KeyValue) {
	for _, pair := range uses {
		key, err := r.keys.Parse(string(pair.Key))
		if err != nil || r.BadPool(key.Pool) != nil {
			continue
		}
		if _, known := h.poolAt(key.Pool); !known {
			r.missing(kv.Key{Kind: kv.KindPool, Pool: key.Pool},
				errors.New("it is missing, somebody has addresses of it, and nothing tells what it was"))
		}
	}
}

// kvAt is the one of a key; nil: there is none.
func kvAt(kvs []*mvccpb.KeyValue, key string) *mvccpb.KeyValue {
	if i := slices.IndexFunc(kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key }); i >= 0 {
		return kvs[i]
	}
	return nil
}

// complete replaces what cannot be read, is missing, or was written by hand by what the history has.
func (r *rawConfig) complete(h *memory) {
	if r.count == nil {
		r.Changes, r.Former = h.newest, h.former
	}
	if r.Revision == 0 {
		r.Revision, r.keyless = cmp.Or(r.counted, h.revision), true
		r.missing(kv.Key{Kind: kv.KindRevision}, errors.New("it is missing, and there is a configuration"))
	}
	r.completeSettings(h)
	r.settled = r.settled || r.Unsettled || h.settings != nil // what is not known counts as configured
	for _, name := range slices.Sorted(maps.Keys(r.PoolRevisions)) {
		r.completePool(h, name)
	}
	for name := range h.pools {
		pool, known := h.poolAt(name)
		if _, there := r.PoolRevisions[name]; !there && known && pool != nil {
			r.Pools[name] = *pool
			r.missing(kv.Key{Kind: kv.KindPool, Pool: name}, errors.New("it is missing, and no change has removed the pool"))
		}
	}
	slices.SortFunc(r.Bad, func(a, b *kv.DamagedError) int { return strings.Compare(a.Key, b.Key) })
}

// newer reports whether a record that can be read was written after a revision.
func (r *rawConfig) newer(revision int64) bool {
	bad := slices.ContainsFunc(r.Bad, func(e *kv.DamagedError) bool { return e.At.Kind == kv.KindSettings })
	for name := range r.Pools {
		if r.PoolRevisions[name] > revision {
			return true
		}
	}
	return r.settings > revision && !bad
}

func (r *rawConfig) missing(key kv.Key, why error) {
	r.Bad = append(r.Bad, &kv.DamagedError{Key: r.keys.Of(key), At: key, Revision: 0, Err: why})
}

func (r *rawConfig) completeSettings(h *memory) {
	key := kv.Key{Kind: kv.KindSettings}
	bad := slices.ContainsFunc(r.Bad, func(e *kv.DamagedError) bool { return e.At.Kind == kv.KindSettings })
	settings, known := h.settingsAt()
	if !known && r.settings == 0 && r.count != nil && r.count.Pools != nil && !r.count.Settings {
		return // nobody has configured any: the last change says so
	}
	switch {
	case known && settings == nil && r.settings == 0, !known && !bad && r.settings > 0:
		return
	case !known:
		r.Unsettled, settings = true, nil
	case settings == nil:
		defaults := record.DefaultSettings()
		settings = &defaults // nobody has configured any
	case !bad && r.settings > 0 && reflect.DeepEqual(*settings, r.Settings):
		return
	}
	if settings != nil {
		r.Settings = *settings
	}
	switch {
	case bad:
	case r.settings == 0 && !r.settled && r.Unsettled:
		r.missing(key, errors.New("it is missing, and nothing tells whether somebody has configured settings"))
	case r.settings == 0:
		r.missing(key, errors.New("it is missing, and somebody has configured settings"))
	default:
		r.Bad = append(r.Bad, &kv.DamagedError{Key: r.keys.Of(key), At: key, Revision: r.settings, Err: errByHand})
	}
}

var (
	// errByHand says that a record is not what the last change of the configuration wrote.
	errByHand = errors.New("it is not what the last change wrote: somebody has written it by hand, and a change is made with berthctl apply")
	// errNoChange says that a pool was never made.
	errNoChange = errors.New("no change has made the pool: somebody has written it by hand, and a pool is made with berthctl apply")
)

func (r *rawConfig) completePool(h *memory, name string) {
	now, readable := r.Pools[name]
	pool, known := h.poolAt(name)
	switch {
	case !known:
		return // what can be read counts; else the pool is missing
	case pool == nil:
		delete(r.Pools, name)
		if readable {
			r.damaged(name, errNoChange)
		} else if bad := r.BadPool(name); bad != nil {
			bad.Err = fmt.Errorf("%w; %w", bad.Err, errNoChange)
		}
		return
	case readable && reflect.DeepEqual(fields(*pool), fields(now)):
		return
	}
	r.Pools[name] = *pool
	if readable {
		r.damaged(name, errByHand)
	}
}

func (r *rawConfig) damaged(pool string, why error) {
	key := kv.Key{Kind: kv.KindPool, Pool: pool}
	r.Bad = append(r.Bad, &kv.DamagedError{Key: r.keys.Of(key), At: key, Revision: r.PoolRevisions[pool], Err: why})
}
