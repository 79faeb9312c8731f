package lease

import (
	"context"
)

// Allow is the gate for who has only etcd: it reads the settings.
func (s *configStore) Allow(ctx context.Context, operation string) error {
	config, err := s.Config(ctx)
	if err != nil {
		return err
	}
	return config.Settings.Allow(operation)
}
