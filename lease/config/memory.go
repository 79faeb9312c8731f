package config

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A memory is what the history tells of the configuration: what the newest changes wrote, as far back as that is known of all
// of them.
type memory struct {
	newest   int64 // the number of the newest change
	revision int64 // and the revision of its key
	last     int64 // the revision that the newest change made of those that are known
	whole    bool  // all changes can be read, from the first one on
	settings *record.Settings
	pools    map[string]*allocator.Pool    // nil: removed
	erased   map[int64]record.HistoryEntry // that somebody has deleted, and that etcd still has
	lost     []int64                       // and that it has no more
	// all gateways that ever were one: which of them every node has taken off, only the record of the revision says
	former []record.Former
}

// AskedTries bounds for how many changed or deleted entries etcd is asked what their changes wrote.
const AskedTries = 64

// recall makes a memory of the history's keys, as they were at the revision now. Changes is how many there were by the record of
// the revision, which the last of them wrote at keyAt; where that is not so, the history is believed only as a whole. There are
// revisions at which entries may have been that are deleted.
func (s *Store) recall(ctx context.Context, kvs []*mvccpb.KeyValue, changes, keyAt, now int64, there []int64) (*memory, error) {
	m := &memory{pools: map[string]*allocator.Pool{}, erased: map[int64]record.HistoryEntry{}}
	entries, touched := map[int64]record.HistoryEntry{}, 0
	for _, kv := range kvs {
		key, err := s.kv.Keys.Parse(string(kv.Key))
		if err != nil {
			continue
		}
		if key.Number > m.newest {
			m.newest, m.revision = key.Number, kv.ModRevision
		}
		if kv.Version > 1 {
			if touched++; touched > AskedTries {
				continue
			}
		}
		e, known, err := s.asWritten(ctx, kv)
		if err != nil {
			return nil, err
		}
		if known {
			entries[e.Number] = e
		}
	}
	if err := s.askForErased(ctx, m, entries, changes, keyAt, now, there); err != nil {
		return nil, err
	}
	last, certain := changes, false
	for n, e := range entries {
		last, m.last = max(last, n), max(m.last, e.Revision)
	}
	if e, there := entries[changes]; there && e.Revision == keyAt {
		last, certain = changes, true
	}
	for n := last; n > 0; n-- {
		e, there := entries[n]
		if !there {
			break
		}
		m.learn(e)
		m.whole = n == 1
	}
	m.former = formerOf(entries)
	if !certain && !m.whole {
		m.forget()
	}
	return m, nil
}

// askForErased brings in the entries that somebody has deleted, as far as etcd still has them. One of which it does not costs it
// some thirty reads.
func (s *Store) askForErased(
	ctx context.Context, m *memory, entries map[int64]record.HistoryEntry, changes, keyAt, now int64, there []int64,
) error {
	const given = 8               // how many of them may be lost before it is given up
	top, next := changes, keyAt+1 // a change after the top one made the revision next, or could have
	if changes == 0 {
		next = now + 1
		for n := range entries {
			top = max(top, n)
		}
	}
	for n := top; n > 0 && len(m.erased) < AskedTries && len(m.lost) < given; n-- {
		if e, there := entries[n]; there {
			next = min(next, e.Revision)
			continue
		}
		kv, err := s.erasedEntry(ctx, n, next, now, there)
		if err != nil {
			return err
		}
		e, known := record.HistoryEntry{}, false
		if kv != nil {
			if e, known, err = s.asWritten(ctx, kv); err != nil {
				return err
			}
		}
		if !known {
			m.lost = append(m.lost, n)
			continue
		}
		entries[n], m.erased[n], next = e, e, min(next, e.Revision)
	}
	return nil
}

// forget drops what the changes wrote.
func (m *memory) forget() {
	m.whole, m.settings, m.pools = false, nil, map[string]*allocator.Pool{}
}

// asWritten is an entry of the history as its change wrote it, if etcd still has that. Nothing changes one later: what
// somebody has made of it by hand, a repair too, does not count.
func (s *Store) asWritten(ctx context.Context, pair *mvccpb.KeyValue) (e record.HistoryEntry, known bool, err error) {
	if pair.Version > 1 {
		response, err := s.kv.Read(ctx, kv.CallTime, string(pair.Key), clientv3.WithRev(pair.CreateRevision))
		if errors.Is(err, rpctypes.ErrCompacted) || err == nil && len(response.Kvs) == 0 {
			return e, false, nil
		} else if err != nil {
			return e, false, err
		}
		pair = response.Kvs[0]
	}
	e, err = record.HistoryCodec.Read(s.kv.Keys, pair)
	return e, err == nil, nil
}

// formerOf are the gateways that changes have taken from their pools and that none is now, and the former ends of CIDRs that have grown.
func formerOf(entries map[int64]record.HistoryEntry) (former []record.Former) {
	now := map[netip.Addr]bool{}
	for _, n := range slices.Sorted(maps.Keys(entries)) {
		e := entries[n]
		for _, p := range e.Before.Pools {
			for _, g := range p.Gateways {
				delete(now, g)
				if !isFormer(former, g) {
					former = append(former, record.Former{Address: g, Since: e.Revision - 1})
				}
			}
		}
		for _, p := range e.After.Pools {
			if i := slices.IndexFunc(e.Before.Pools, func(was allocator.Pool) bool { return was.Name == p.Name }); i >= 0 {
				for _, end := range allocator.FormerEnds(&e.Before.Pools[i], &p) {
					if !isFormer(former, end) {
						former = append(former, record.Former{Address: end, Since: e.Revision - 1})
					}
				}
			}
			for _, g := range p.Gateways {
				now[g] = true
			}
		}
	}
	return slices.DeleteFunc(former, func(f record.Former) bool { return now[f.Address] })
}

// learn adds a change that is older than those before.
func (m *memory) learn(e record.HistoryEntry) {
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
func (m *memory) settingsAt() (s *record.Settings, known bool) {
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
