package task

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// All runs tasks beside each other until all have ended. The first error ends the others, by their context, and is returned.
func All(ctx context.Context, tasks ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, each := range tasks {
		group.Go(func() error { return each(ctx) })
	}
	return group.Wait()
}
