package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease"
)

// A memberFlags says which interface of a member is meant.
type memberFlags struct{ network, iface string }

func (m *memberFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&m.network, "network", "berth", "`name` of the CNI network, as its configuration has it")
	fs.StringVar(&m.iface, "interface", "eth0", "`name` of the container's interface")
}

// identities reads words of NAMESPACE/APP/MEMBER and adds the interface.
func (m *memberFlags) identities(words []string) ([]allocator.Identity, error) {
	ids := make([]allocator.Identity, len(words))
	for i, word := range words {
		parts := strings.Split(word, "/")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%q: want NAMESPACE/APP/MEMBER, such as shop/db/db-0", word)
		}
		ids[i] = allocator.Identity{Namespace: parts[0], App: parts[1], Member: parts[2], Network: m.network, Interface: m.iface}
		if err := ids[i].Validate(); err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
	}
	return ids, nil
}

// args checks that a command got between min and max members (max 0: no bound).
func (m *memberFlags) args(min, max int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, words []string) error {
		if err := wantArgs(min, max, "a NAMESPACE/APP/MEMBER")(cmd, words); err != nil {
			return err
		}
		_, err := m.identities(words)
		return err
	}
}

func (c *ctl) reserve() *cobra.Command {
	var member memberFlags
	var poolName string
	var asked addressList
	cmd := &cobra.Command{
		Use:   "reserve NAMESPACE/APP/MEMBER",
		Short: "Reserve an address for a member of a stateful app before it runs",
		Long: `Reserve gives a member of a stateful app its address before it runs: the one that is asked for, or else a free one
of the pool's stateful ranges. A member that has one already keeps it.`,
		Example: `  berthctl reserve shop/db/db-0
  berthctl reserve shop/db/db-1 --address 10.42.0.17
  berthctl reserve shop/db/db-0 --pool lab --network lab-net --interface net1`,
		Args: func(cmd *cobra.Command, words []string) error {
			return cmp.Or(member.args(1, 1)(cmd, words), ifname.Validate("--interface", member.iface))
		},
		RunE: c.operation(record.OperationInsert, func(ctx context.Context, store *lease.Operator, args []string) error {
			ids, err := member.identities(args)
			if err != nil {
				return err
			}
			config, err := store.Config.Read(ctx)
			if err != nil {
				return err
			}
			pool, ok := config.Pools[poolName]
			if !ok {
				return fmt.Errorf("there is no pool %q: %s", poolName, nearest.Hint(poolName, slices.Sorted(maps.Keys(config.Pools))))
			}
			if pool.Draining {
				return fmt.Errorf("pool %q is draining, since it is to be removed: choose another one", poolName)
			}
			reservations, err := store.Reservations.ReserveFor(ctx, pool, config.PoolRevisions[poolName], ids[0], asked)
			if err != nil {
				return err
			}
			return c.tellReserved(reservations)
		}),
	}
	member.add(cmd.Flags())
	cmd.Flags().StringVar(&poolName, "pool", wire.DefaultPool, "`name` of the pool")
	cmd.Flags().Var(&asked, "address", "the `address` to reserve; in a pool of two families two, separated by a comma")
	_ = cmd.RegisterFlagCompletionFunc("pool", c.complete(0, poolNames))
	return cmd
}

// An addressList is the value of a flag that takes addresses.
type addressList []netip.Addr

func (l *addressList) String() string { return join(*l) }
func (l *addressList) Type() string   { return "address" }

func (l *addressList) Set(words string) error {
	for word := range strings.SplitSeq(words, ",") {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return fmt.Errorf("%q: want an address such as 10.42.0.17", word)
		}
		*l = append(*l, a)
	}
	return nil
}

// tellReserved prints who has got which address.
func (c *ctl) tellReserved(reservations []record.Reservation) error {
	found := []holding{}
	for _, r := range reservations {
		found = append(found, reserved(r))
	}
	return c.tellHoldings(found)
}
