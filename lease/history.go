package lease

import (
	"cmp"
	"context"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Note is what a change of the configuration says of itself.
type Note struct {
	Who     string // as the author claims
	Message string
}

// History is all changes of the configuration, the first one first.
func (s *configStore) History(ctx context.Context) ([]HistoryEntry, error) {
	entries, err := readable(ctx, s.kv, historyCodec)
	slices.SortFunc(entries, func(a, b HistoryEntry) int { return cmp.Compare(a.Number, b.Number) })
	return entries, err
}

// newestChange is the highest number of an entry, also of one that cannot be read.
func (s *configStore) newestChange(ctx context.Context) (newest int64, err error) {
	response, err := s.kv.scan(ctx, s.kv.keys.Under(KindHistory), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	for _, kv := range response.Kvs {
		if key, err := s.kv.keys.Parse(string(kv.Key)); err == nil {
			newest = max(newest, key.Number)
		}
	}
	return newest, nil
}
