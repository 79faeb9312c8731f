package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease"
)

func (c *ctl) remove() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove KIND",
		Short:   "Remove a part of the configuration",
		Long:    "Remove takes a part of the configuration away.",
		Example: `  berthctl remove pool lab`,
	}
	cmd.AddCommand(c.removePool())
	group(cmd)
	return cmd
}

func (c *ctl) removePool() *cobra.Command {
	var message string
	var drain bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "pool NAME",
		Short: "Remove a pool that nothing uses",
		Long: `Remove pool takes a pool out of the configuration. It is refused while a node owns a block of the pool, or a
reservation lies in it.

With --drain the pool is first marked as draining: nodes allocate nothing of it any more and give back what they do not
use. Then it waits until no container has an address of the pool, and removes it. Reservations of members that do not
run are not waited for: release them. If the time is over first, the exit code is 3 and the pool stays draining: run
the same again to go on, or "berthctl rollback" to take the pool back into use.`,
		Example: `  berthctl remove pool lab --message "the lab has moved"
  berthctl remove pool lab --drain --timeout 1h`,
		Args: wantArgs(1, 1, "the NAME of a pool"),
		RunE: c.cluster(func(ctx context.Context, store *lease.Store, args []string) error {
			base, err := store.Config(ctx)
			if err != nil {
				return err
			}
			if _, ok := base.Pools[args[0]]; !ok {
				return fmt.Errorf("there is no pool %q: %s", args[0], nearest.Hint(args[0], slices.Sorted(maps.Keys(base.Pools))))
			}
			note := lease.Note{Who: who(), Message: message}
			if drain {
				if base, err = c.drain(ctx, store, base, args[0], timeout, note); err != nil {
					return err
				}
			}
			after, err := store.RemovePool(ctx, base, args[0], note)
			if err != nil {
				return err
			}
			return c.tellApplied(applied{Revision: after.Revision, Changed: true, Changes: lease.Diff(base, after)}, "")
		}),
		ValidArgsFunction: c.complete(1, poolNames),
	}
	cmd.Flags().StringVar(&message, "message", "", "`words` for the history")
	cmd.Flags().BoolVar(&drain, "drain", false, "stop new allocations, and wait until the containers of the pool have gone")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how `long` to wait with --drain")
	return cmd
}
