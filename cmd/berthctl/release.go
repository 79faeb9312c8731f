package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func (c *ctl) release() *cobra.Command {
	var member memberFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "release NAMESPACE/APP/MEMBER...",
		Short: "Give up the reserved addresses of members of stateful apps",
		Long: `Release gives up what is reserved for members of stateful apps, of each whatever becomes of the others.

It is refused for a member that runs, unless --force is given: then its container loses the address at once.`,
		Example: `  berthctl release shop/db/db-2
  berthctl release shop/db/db-2 shop/db/db-3 --network lab-net
  berthctl release shop/db/db-0 --force`,
		Args: member.args(1, 0),
		RunE: c.operation(record.OperationDelete, func(ctx context.Context, store *lease.Operator, args []string) error {
			ids, err := member.identities(args)
			if err != nil {
				return err
			}
			ended, err := endAll(ctx, store, ids, force)
			if len(ended) > 0 || err == nil {
				err = errors.Join(err, c.tellReleased(ended))
			}
			return err
		}),
		ValidArgsFunction: c.complete(0, memberNames),
	}
	member.add(cmd.Flags())
	cmd.Flags().BoolVar(&force, "force", false, "also of a member that runs")
	return cmd
}

// endAll ends what is reserved for the members, of each whatever becomes of the others.
func endAll(ctx context.Context, store *lease.Operator, ids []allocator.Identity, force bool) ([]record.Reservation, error) {
	var all []record.Reservation
	var failed []error
	for _, id := range ids {
		ended, err := store.Reservations.End(ctx, id, force)
		if err != nil {
			failed = append(failed, explain(id, err))
		}
		all = append(all, ended...)
	}
	return all, errors.Join(failed...)
}

// tellReleased prints who has given up which address.
func (c *ctl) tellReleased(ended []record.Reservation) error {
	found := []holding{}
	for _, r := range ended {
		h := reserved(r)
		h.State = stateReleased
		found = append(found, h)
	}
	return c.tellHoldings(found)
}

// explain adds what can be done to the error about a member that runs, or has nothing.
func explain(id allocator.Identity, err error) error {
	if _, ok := errors.AsType[*reservation.HeldError](err); ok {
		return fmt.Errorf("%w\nstop it first, or give --force: then it loses the address at once", err)
	}
	if errors.Is(err, reservation.ErrNotReserved) {
		return fmt.Errorf("%w on network %s for interface %s: see \"berthctl get reservations\"", err, id.Network, id.Interface)
	}
	return err
}
