package config

import (
	"cmp"
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A Note is what a change of the configuration says of itself.
type Note struct {
	Who     string // as the author claims
	Message string
}

// History is all changes of the configuration, the first one first.
func (s *Store) History(ctx context.Context) ([]record.HistoryEntry, error) {
	entries, err := kv.Readable(ctx, s.kv, record.HistoryCodec)
	slices.SortFunc(entries, func(a, b record.HistoryEntry) int { return cmp.Compare(a.Number, b.Number) })
	return entries, err
}

// newestChange is the highest number of an entry, also of one that cannot be read.
func (s *Store) newestChange(ctx context.Context) (newest int64, err error) {
	response, err := s.kv.Scan(ctx, s.kv.Keys.Under(kv.KindHistory), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	for _, kv := range response.Kvs {
		if key, err := s.kv.Keys.Parse(string(kv.Key)); err == nil {
			newest = max(newest, key.Number)
		}
	}
	return newest, nil
}
