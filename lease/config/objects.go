package config

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// askForObjects asks etcd for the pools and the settings of which the history does not tell what they are to be: what was there
// before somebody damaged or deleted it counts.
func (s *Store) askForObjects(ctx context.Context, r *rawConfig, h *memory, kvs []*mvccpb.KeyValue, there []int64) error {
	for _, bad := range r.Bad {
		if _, known := h.poolAt(bad.At.Pool); bad.At.Kind != kv.KindPool || known {
			continue
		}
		was, err := s.kv.Former(ctx, kvAt(kvs, bad.Key), s.isPool)
		if err != nil {
			return err
		}
		s.restore(h, was)
	}
	if r.count != nil && r.count.Pools != nil && *r.count.Pools > r.pools && !h.whole {
		if err := s.askForPools(ctx, r, h, *r.count.Pools, there); err != nil {
			return err
		}
	}
	if _, known := h.settingsAt(); known {
		return nil
	}
	is := func(kv *mvccpb.KeyValue) bool { _, err := record.SettingsCodec.Read(s.kv.Keys, kv); return err == nil }
	switch now := kvAt(kvs, s.kv.Keys.Settings()); {
	case now != nil && is(now), now == nil && r.count != nil && !r.count.Settings:
		return nil
	default:
		was, err := s.lastGood(ctx, s.kv.Keys.Settings(), now, r.Read, there, is)
		if err != nil || was == nil {
			return err
		}
		settings, err := record.SettingsCodec.Read(s.kv.Keys, was)
		h.settings = &settings
		return err
	}
}

// askForPools finds the pools that somebody has deleted: there were so many.
func (s *Store) askForPools(ctx context.Context, r *rawConfig, h *memory, many int, there []int64) error {
	all := func(revision int64) (kvs []*mvccpb.KeyValue, compacted bool, err error) {
		response, err := s.kv.Scan(ctx, s.kv.Keys.Under(kv.KindPool), clientv3.WithRev(revision))
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return nil, true, nil
		case err != nil:
			return nil, false, err
		}
		return response.Kvs, false, nil
	}
	last, err := lastWhen(r.Read, there, func(revision int64) (is, compacted bool, err error) {
		kvs, compacted, err := all(revision)
		return len(kvs) >= many, compacted, err
	})
	if err != nil || last == 0 {
		return err
	}
	kvs, _, err := all(last)
	for _, kv := range kvs {
		key, err := s.kv.Keys.Parse(string(kv.Key))
		if _, is := r.PoolRevisions[key.Pool]; err != nil || is {
			continue
		}
		if !s.isPool(kv) {
			if kv, err = s.kv.Former(ctx, kv, s.isPool); err != nil {
				return err
			}
		}
		s.restore(h, kv)
	}
	return err
}

func (s *Store) isPool(kv *mvccpb.KeyValue) bool {
	pool, err := record.PoolCodec.Read(s.kv.Keys, kv)
	return err == nil && pool.Validate() == nil
}

// restore lets a memory know what a pool was.
func (s *Store) restore(h *memory, was *mvccpb.KeyValue) {
	if was == nil {
		return
	}
	if pool, err := record.PoolCodec.Read(s.kv.Keys, was); err == nil {
		h.pools[pool.Name] = &pool
	}
}
