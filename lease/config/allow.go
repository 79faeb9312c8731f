package config

import (
	"context"
)

// Allow is the gate for who has only etcd: it reads the settings.
func (s *Store) Allow(ctx context.Context, operation string) error {
	config, err := s.Read(ctx)
	if err != nil {
		return err
	}
	return config.Settings.Allow(operation)
}
