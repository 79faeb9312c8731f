package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
)

func (c *ctl) show() *cobra.Command {
	return &cobra.Command{
		Use:   "show ADDRESS|CONTAINER|NAMESPACE/POD|NAMESPACE/APP[/MEMBER]",
		Short: "Print who has an address, or which addresses someone has",
		Long: `Show prints who has an address, where and since when; or the addresses of a container, of a pod (NAMESPACE/NAME,
or its name or UID), of an app, or of a member of one.

The state of an address is: assigned (a stateless container has it), attached (the member that it is reserved for has
it), reserved (it is kept for a member that does not run), free (its block has an owner: the node), unclaimed (its block
has none), or excluded (it is never given out).`,
		Example: `  berthctl show 10.42.0.17
  berthctl show 4f1c0d6a8a1e
  berthctl show shop/web-7d9f8-x2x4z
  berthctl show shop/db/db-0 -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			const words = "an ADDRESS, a CONTAINER or NAMESPACE/APP/MEMBER"
			if len(args) == 1 && (args[0] == "" || strings.Count(args[0], "/") > 2) {
				return fmt.Errorf("%q: want %s", args[0], words)
			}
			return wantArgs(1, 1, words)(cmd, args)
		},
		RunE: c.operation(record.OperationRead, func(ctx context.Context, store *lease.Operator, args []string) error {
			found, err := lookup(ctx, store, args[0])
			if err != nil {
				return err
			}
			return c.tellHoldings(found)
		}),
		ValidArgsFunction: c.complete(1, memberNames),
	}
}

// tellHoldings prints addresses and who has them. The age is that of the attachment, or else of the reservation.
func (c *ctl) tellHoldings(found []holding) error {
	return c.print(map[string][]holding{"addresses": found}, func(w io.Writer) error {
		t := table{header: []string{"ADDRESS", "POOL", "STATE", "WHO", "NAMESPACE/NAME", "CONTAINER", "NETWORK", "INTERFACE", "NODE", "AGE"}}
		for _, h := range found {
			var since string
			if then := cmp.Or(h.Since, h.Reserved); then != nil {
				since = age(c.now(), *then)
			}
			t.rows = append(t.rows, []string{
				h.Address.String(), h.Pool, h.State, h.who(), h.Workload, h.Container, h.Network, h.Interface, h.Node, since,
			})
		}
		return t.write(w)
	})
}

// who is the app or the member that has the address.
func (h holding) who() string {
	if h.App == "" {
		return ""
	}
	return strings.TrimSuffix(h.Namespace+"/"+h.App+"/"+h.Member, "/")
}
