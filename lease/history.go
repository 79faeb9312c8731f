package lease

import (
	"cmp"
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A Note is what a change of the configuration says of itself.
type Note struct {
	Who     string // as the author claims
	Message string
}

// A HistoryEntry is one change of the configuration. It was written in the change's own transaction.
type HistoryEntry struct {
	Number   int64     `json:"number"`
	Revision int64     `json:"revision,omitempty"`
	Who      string    `json:"who"`
	When     time.Time `json:"when"` // by the author's clock
	Message  string    `json:"message,omitempty"`
	Changes  []Change  `json:"changes"`
	Before   Objects   `json:"before"`
	After    Objects   `json:"after"`
}

// Objects are those that a change touched. One that is missing before was made, one that is missing after was removed.
type Objects struct {
	Settings *Settings        `json:"settings,omitempty"`
	Pools    []allocator.Pool `json:"pools,omitempty"`
}

// History is all changes of the configuration, the first one first.
func (s *Store) History(ctx context.Context) ([]HistoryEntry, error) {
	entries, err := readable(ctx, s, historyForm)
	slices.SortFunc(entries, func(a, b HistoryEntry) int { return cmp.Compare(a.Number, b.Number) })
	return entries, err
}

// newestChange is the highest number of an entry, also of one that cannot be read.
func (s *Store) newestChange(ctx context.Context) (newest int64, err error) {
	response, err := s.scan(ctx, s.keys.Under(KindHistory), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	for _, kv := range response.Kvs {
		if key, err := s.keys.Parse(string(kv.Key)); err == nil {
			newest = max(newest, key.Number)
		}
	}
	return newest, nil
}
