package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
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
		Long: `Remove pool takes a pool out of the configuration. It is refused while a container has an address of the pool, or a
reservation lies in it. Blocks that nodes have ready and do not use are given back first.

With --drain the pool is first marked as draining: nodes allocate nothing of it any more and give back what they do not
use. Then it waits until no container has an address of the pool, and removes it. Reservations of members that do not
run are not waited for: release them. If the time is over first, the exit code is 3 and the pool stays draining: run
the same again to go on. "draining: false" in the file that you apply, or "berthctl rollback", takes it back into use.`,
		Example: `  berthctl remove pool lab --message "the lab has moved"
  berthctl remove pool lab --drain --timeout 1h`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(wantArgs(1, 1, "the NAME of a pool")(cmd, args), positive("--timeout", timeout))
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, args []string) error {
			base, err := store.Config.Read(ctx)
			if err != nil {
				return err
			}
			if _, ok := base.Pools[args[0]]; !ok {
				return fmt.Errorf("there is no pool %q: %s", args[0], nearest.Hint(args[0], slices.Sorted(maps.Keys(base.Pools))))
			}
			note := config.Note{Who: who(), Message: message}
			if drain {
				if base, err = c.drain(ctx, store, base, args[0], timeout, note); err != nil {
					return c.halfWay(ctx, store, args[0], err)
				}
			}
			after, err := store.Editor.RemovePool(ctx, base, args[0], note)
			if _, used := errors.AsType[*config.InUseError](err); used && !drain {
				after, err = c.removeIdle(ctx, store, base, args[0], note, err)
			}
			if err != nil {
				return c.halfWay(ctx, store, args[0], err)
			}
			return c.tellApplied(applied{Revision: after.Revision, Changed: true, Changes: config.Diff(base, after)}, "")
		}),
		ValidArgsFunction: c.complete(1, poolNames),
	}
	cmd.Flags().Var((*sentence)(&message), "message", "`words` for the history")
	cmd.Flags().BoolVar(&drain, "drain", false, "stop new allocations, and wait until the containers of the pool have gone")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how `long` to wait with --drain")
	return cmd
}

// idleTime is how long nodes may take to give blocks back in which nothing is.
const idleTime = 20 * time.Second

// removeIdle removes a pool in which nothing is in use but blocks that nodes have ready, by draining it first. Where it
// cannot, the pool is as it was, and the error is the reason for which it could not be removed at once.
func (c *ctl) removeIdle(ctx context.Context, store *lease.Operator, base *config.Config, pool string, note config.Note,
	reason error) (*config.Config, error) {
	use, err := store.Editor.Use(ctx, pool)
	if err != nil {
		return nil, err
	}
	if !use.Idle() {
		return nil, reason
	}
	former := base.Pools[pool].Draining
	drained, err := c.drain(ctx, store, base, pool, idleTime, note)
	if err == nil {
		return store.Editor.RemovePool(ctx, drained, pool, note)
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	now, readErr := store.Config.Read(ctx)
	if readErr != nil {
		return nil, errors.Join(err, readErr)
	}
	if p, there := now.Pools[pool]; there && p.Draining && !former {
		p.Draining = false
		next := now.Clone()
		next.Pools[pool] = p
		if _, undone := store.Editor.Apply(ctx, now, next, config.Note{Who: note.Who,
			Message: "it is in use, and was not removed"}); undone != nil {
			return nil, errors.Join(err, undone)
		}
	}
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	return nil, reason
}

// afterwards is for what is to be said or undone even where somebody has interrupted the command.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// halfWay says of a removal that has not come to its end whether the pool is left draining.
func (c *ctl) halfWay(ctx context.Context, store *lease.Operator, pool string, err error) error {
	if _, said := errors.AsType[incompleteError](err); said {
		return err
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if now, unread := store.Config.Read(ctx); unread == nil && now.Pools[pool].Draining {
		fmt.Fprintf(c.diagnostics, "berthctl: pool %s is draining, and stays so: nodes allocate nothing of it. %s\n", pool, backIntoUse)
	}
	return err
}
