package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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
}

func (s *Store) readConfig(kvs []*mvccpb.KeyValue) *rawConfig {
	r := &rawConfig{keys: s.keys, Config: &Config{Settings: DefaultSettings(), Pools: map[string]allocator.Pool{},
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
		_, err = poolForm.read(r.keys, kv)
		return err
	case key.Kind == KindRevision:
		r.Revision = kv.ModRevision
		count, err := revisionForm.read(r.keys, kv)
		if err == nil {
			r.count, r.Changes, r.Former = &count, count.Changes, count.Former
		}
		return err
	case key.Kind == KindSettings:
		r.settings = kv.ModRevision
		settings, err := settingsForm.read(r.keys, kv)
		if err == nil {
			r.Settings = settings
		}
		return err
	}
	r.pools++
	r.PoolRevisions[key.Pool] = kv.ModRevision // also of one that cannot be read: it is what a claim compares
	pool, err := poolForm.read(r.keys, kv)
	if err == nil {
		r.Pools[key.Pool] = pool
	}
	return err
}

// doubtful reports whether the history has to be asked what is right.
func (r *rawConfig) doubtful() bool {
	if r.count == nil {
		return r.Revision > 0 || r.pools > 0 || r.settings > 0
	}
	return len(r.Bad) > 0 || r.strange || r.settled && r.settings == 0 || r.count.Pools != nil && *r.count.Pools != r.pools
}

// complete puts what the history tells in the place of what cannot be read, is missing, or was written by hand.
func (r *rawConfig) complete(h *memory) {
	if r.count == nil {
		r.Changes, r.Former = h.newest, h.former
		if r.Revision == 0 {
			r.Revision, r.keyless = h.revision, true
			r.missing(Key{Kind: KindRevision}, errors.New("it is missing, and there is a configuration"))
		}
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

// A memory is what the history tells of the configuration: what the newest changes wrote, as far back as that is known of all
// of them.
type memory struct {
	newest   int64 // the number of the newest change
	revision int64 // and the revision that it made
	whole    bool  // all changes can be read, from the first one on
	settings *Settings
	pools    map[string]*allocator.Pool // nil: removed
	// all gateways that ever were one: which of them every node has taken off, only the record of the revision says
	former []Former
}

// recall reads the history as it was at a revision. Changes is how many there were by the record that was written at
// keyAt; where that one is not what the last change wrote, the history is believed only as a whole.
func (s *Store) recall(ctx context.Context, revision, changes, keyAt int64) (*memory, error) {
	response, err := s.scan(ctx, s.keys.Under(KindHistory), clientv3.WithRev(revision))
	if err != nil {
		return nil, fmt.Errorf("what the configuration is to be: %w", err)
	}
	m := &memory{pools: map[string]*allocator.Pool{}}
	entries, touched := map[int64]HistoryEntry{}, 0
	for _, kv := range response.Kvs {
		key, err := s.keys.Parse(string(kv.Key))
		if err != nil {
			continue
		}
		if key.Number > m.newest {
			m.newest, m.revision = key.Number, kv.ModRevision
		}
		if kv.Version > 1 {
			if touched++; touched > touchedTries {
				continue
			}
		}
		if e, known, err := s.asWritten(ctx, kv); err != nil {
			return nil, fmt.Errorf("what the configuration is to be: %w", err)
		} else if known {
			entries[e.Number] = e
		}
	}
	last, certain := m.newest, false
	if e, there := entries[changes]; there && e.Revision == keyAt {
		last, certain = changes, true
	}
	for n := last; n > 0; n-- {
		e, there := entries[n]
		if !there {
			break
		}
		m.take(e)
		m.whole = n == 1
	}
	m.former = formerOf(entries)
	if !certain && !m.whole {
		m.settings, m.pools = nil, map[string]*allocator.Pool{}
	}
	return m, nil
}

// touchedTries bounds for how many entries that somebody has touched etcd is asked what their changes wrote.
const touchedTries = 64

// asWritten is an entry of the history as its change wrote it, if etcd still has that. Nothing changes one later: what
// somebody has made of it by hand, a repair too, does not count.
func (s *Store) asWritten(ctx context.Context, kv *mvccpb.KeyValue) (e HistoryEntry, known bool, err error) {
	if kv.Version > 1 {
		response, err := s.read(ctx, callTime, string(kv.Key), clientv3.WithRev(kv.CreateRevision))
		if errors.Is(err, rpctypes.ErrCompacted) || err == nil && len(response.Kvs) == 0 {
			return e, false, nil
		} else if err != nil {
			return e, false, err
		}
		kv = response.Kvs[0]
	}
	e, err = historyForm.read(s.keys, kv)
	return e, err == nil, nil
}

// formerOf are the gateways that changes have taken from their pools and that none is now.
func formerOf(entries map[int64]HistoryEntry) (former []Former) {
	now := map[netip.Addr]bool{}
	for _, n := range slices.Sorted(maps.Keys(entries)) {
		e := entries[n]
		for _, p := range e.Before.Pools {
			for _, g := range p.Gateways {
				delete(now, g)
				if !isFormer(former, g) {
					former = append(former, Former{Address: g, Since: e.Revision - 1})
				}
			}
		}
		for _, p := range e.After.Pools {
			for _, g := range p.Gateways {
				now[g] = true
			}
		}
	}
	return slices.DeleteFunc(former, func(f Former) bool { return now[f.Address] })
}

// take brings in a change that is older than those before.
func (m *memory) take(e HistoryEntry) {
	if m.settings == nil {
		m.settings = e.After.Settings
	}
	for _, p := range e.After.Pools {
		if _, newer := m.pools[p.Name]; !newer {
			m.pools[p.Name] = &p
		}
	}
	for _, p := range e.Before.Pools {
		if _, stays := m.pools[p.Name]; !stays {
			m.pools[p.Name] = nil
		}
	}
}

// settingsAt are the settings; nil: nobody has configured any. It is not known where a change cannot be read.
func (m *memory) settingsAt() (s *Settings, known bool) {
	if m.settings == nil {
		return nil, m.whole
	}
	return m.settings, m.settings.Validate() == nil
}

// poolAt is a pool; nil: there is none.
func (m *memory) poolAt(name string) (p *allocator.Pool, known bool) {
	p, known = m.pools[name]
	if p == nil {
		return nil, known || m.whole
	}
	return p, p.Validate() == nil
}

// repairable are the records of the configuration that are not as they are to be, where that is known: the next change
// writes them, whatever else it does. A pool that no change has made is deleted with it.
func (c *Config) repairable() (keys []Key) {
	for _, bad := range c.Bad {
		_, known := c.Pools[bad.At.Pool]
		switch {
		case bad.At.Kind == KindPool && (known || errors.Is(bad.Err, errNoChange)),
			bad.At.Kind == KindSettings && !c.Unsettled,
			bad.At.Kind == KindRevision:
			keys = append(keys, bad.At)
		}
	}
	return keys
}

// unknownPool is a pool of which nobody can tell what addresses it has; nil: there is none.
func (c *Config) unknownPool() *DamagedError {
	for _, bad := range c.Bad {
		if _, known := c.Pools[bad.At.Pool]; bad.At.Kind == KindPool && !known && !errors.Is(bad.Err, errNoChange) {
			return bad
		}
	}
	return nil
}

// Stray reports whether a key is that of a pool that no change has made.
func (c *Config) Stray(key Key) bool {
	return slices.ContainsFunc(c.Bad, func(e *DamagedError) bool { return e.At == key && errors.Is(e.Err, errNoChange) })
}

// Right is what a damaged record of the configuration is to be, as it is written, where that is known.
func (s *State) Right(key Key) (value string, known bool) {
	pool, there := s.Config.Pools[key.Pool]
	switch {
	case key.Kind == KindPool && there:
		return encode(pool), true
	case key.Kind == KindSettings && !s.Config.Unsettled:
		return encode(s.Config.Settings), true
	case key.Kind == KindRevision && s.Config.Changes > 0:
		pools := len(s.Config.Pools)
		return encode(changeCount{Changes: s.Config.Changes, Pools: &pools, Settings: s.Config.settled, Former: s.Config.Former}), true
	}
	return "", false
}
