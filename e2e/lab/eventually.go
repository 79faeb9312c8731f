package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Eventually calls f until it gives no error. It gives up with f's last error when patience or ctx ends, and at once
// on one that Never made.
func Eventually(ctx context.Context, what string, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if final, ok := errors.AsType[never](err); ok {
			return final.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: waited in vain: %s: %w", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

type never struct{ error }

// Never marks an error that no waiting will repair.
func Never(err error) error { return never{err} }
