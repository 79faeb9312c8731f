package rollout

import (
	"context"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Statuses are what the nodes say of themselves, by name.
func (s *Store) Statuses(ctx context.Context) (map[string]record.Status, error) {
	all, err := kv.Readable(ctx, s.kv, record.StatusCodec)
	statuses := make(map[string]record.Status, len(all))
	for _, each := range all {
		statuses[each.Node] = each
	}
	return statuses, err
}
