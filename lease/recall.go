package lease

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
)

// Every change of the configuration writes its objects, the key of the revision and a line of the history in one
// transaction. So the history tells what each object is to be, wherever somebody has written or deleted one by hand.

// A rawConfig is the configuration as its keys have it, before it is completed from the history.
type rawConfig struct {
	*Config
	keys     Keys
	count    *changeCount // nil: its record is missing or cannot be read
	settings int64        // the mod revision of the settings' key
	pools    int          // how many keys of pools there are
	strange  bool         // something was written besides the changes
	history  bool         // there is a history
	counted  int64        // the revision that count was written at
}

func readConfig(keys Keys, kvs []*mvccpb.KeyValue) *rawConfig {
	r := &rawConfig{keys: keys, Config: &Config{Settings: DefaultSettings(), Pools: map[string]allocator.Pool{},
		PoolRevisions: map[string]int64{}}}
	for _, kv := range kvs {
		if err := r.take(kv); err != nil {
			r.Bad = append(r.Bad, damage(err))
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

func (r *rawConfig) take(kv *mvccpb.KeyValue) error {
	key, err := r.keys.Parse(string(kv.Key))
	switch {
	case err != nil:
		_, err = poolCodec.read(r.keys, kv)
		return err
	case key.Kind == KindRevision:
		r.Revision = kv.ModRevision
		count, err := revisionCodec.read(r.keys, kv)
		if err == nil {
			r.count, r.Changes, r.Former = &count, count.Changes, count.Former
		}
		return err
	case key.Kind == KindSettings:
		r.settings = kv.ModRevision
		settings, err := settingsCodec.read(r.keys, kv)
		if err == nil {
			r.Settings = settings
		}
		return err
	}
	r.pools++
	r.PoolRevisions[key.Pool] = kv.ModRevision // also of one that cannot be read: it is what a claim compares
	pool, err := poolCodec.read(r.keys, kv)
	if err == nil {
		r.Pools[key.Pool] = pool
	}
	return err
}

// doubtful reports whether the history has to be asked what is right.
func (r *rawConfig) doubtful() bool {
	if r.count == nil {
		return r.Revision > 0 || r.pools > 0 || r.settings > 0 || r.history
	}
	return len(r.Bad) > 0 || r.strange || r.settled && r.settings == 0 || r.count.Pools != nil && *r.count.Pools != r.pools
}

// completeConfig puts what etcd still tells in the place of what cannot be read, is missing, or was written by hand. kvs are the keys
// of r.
func (s *configStore) completeConfig(ctx context.Context, r *rawConfig, kvs []*mvccpb.KeyValue) error {
	history, err := s.kv.scan(ctx, s.kv.keys.Under(KindHistory), clientv3.WithRev(r.Read))
	if err != nil {
		return err
	}
	there := written(slices.Concat(kvs, history.Kvs))
	if r.counted = r.Revision; r.count == nil {
		count, at, err := s.lastCount(ctx, kvAt(kvs, s.kv.keys.revision()), r.Read, there)
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
	r.complete(h)
	return nil
}

// kvAt is the one of a key; nil: there is none.
func kvAt(kvs []*mvccpb.KeyValue, key string) *mvccpb.KeyValue {
	if i := slices.IndexFunc(kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key }); i >= 0 {
		return kvs[i]
	}
	return nil
}

// complete puts what the history tells in the place of what cannot be read, is missing, or was written by hand.
func (r *rawConfig) complete(h *memory) {
	if r.count == nil {
		r.Changes, r.Former = h.newest, h.former
	}
	if r.Revision == 0 {
		r.Revision, r.keyless = cmp.Or(r.counted, h.revision), true
		r.missing(Key{Kind: KindRevision}, errors.New("it is missing, and there is a configuration"))
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
			r.missing(Key{Kind: KindPool, Pool: name}, errors.New("it is missing, and no change has removed the pool"))
		}
	}
	slices.SortFunc(r.Bad, func(a, b *DamagedError) int { return strings.Compare(a.Key, b.Key) })
}

// newer reports whether a record that can be read was written after a revision.
func (r *rawConfig) newer(revision int64) bool {
	bad := slices.ContainsFunc(r.Bad, func(e *DamagedError) bool { return e.At.Kind == KindSettings })
	for name := range r.Pools {
		if r.PoolRevisions[name] > revision {
			return true
		}
	}
	return r.settings > revision && !bad
}

func (r *rawConfig) missing(key Key, why error) {
	r.Bad = append(r.Bad, &DamagedError{Key: r.keys.Of(key), At: key, Revision: 0, Err: why})
}

func (r *rawConfig) completeSettings(h *memory) {
	key := Key{Kind: KindSettings}
	bad := slices.ContainsFunc(r.Bad, func(e *DamagedError) bool { return e.At.Kind == KindSettings })
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
		defaults := DefaultSettings()
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
		r.Bad = append(r.Bad, &DamagedError{Key: r.keys.Of(key), At: key, Revision: r.settings, Err: errByHand})
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
	key := Key{Kind: KindPool, Pool: pool}
	r.Bad = append(r.Bad, &DamagedError{Key: r.keys.Of(key), At: key, Revision: r.PoolRevisions[pool], Err: why})
}
