package lease

import (
	"context"
)

// Statuses are what the nodes say of themselves, by name.
func (s *rolloutStore) Statuses(ctx context.Context) (map[string]Status, error) {
	all, err := readable(ctx, s.kv, statusCodec)
	statuses := make(map[string]Status, len(all))
	for _, each := range all {
		statuses[each.Node] = each
	}
	return statuses, err
}
