package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/check"
	"github.com/berth-ipam/berth/lease/record"
)

// A connectivityOrder is what the command line asks for.
type connectivityOrder struct {
	check.Options
	all bool
}

func (c *ctl) connectivity() *cobra.Command {
	var o connectivityOrder
	cmd := &cobra.Command{
		Use:   "connectivity",
		Short: "See whether containers of each node reach those of the others",
		Long: `Connectivity has every live node make a container of its own in each pool, and ask the containers of the others for
echoes from inside of it: in both families, with small packets and with such as fill the MTU. It prints a matrix for
each pool and family, and for each way that fails the first hop that does. Then the containers are deleted.

It asks from the node that it runs on, from those that --from names, or with --all from every node. The containers take
addresses as others do, of the app berth/connectivity. They change nothing for others: in a flat pool they are put on
the bridge that the pool's containers on that node are on. Where a node has none of the pool, --bridge, --uplink and
--masquerade say what its network's configuration would.

In a matrix stands ok; "MTU 1400" where packets of more than 1400 bytes do not pass; lost; "by design" where containers
are not to reach each other; and a question mark where a node has no container or has not answered. The diagonal is
between a node and its own container.

Exit codes: 0 all reach all, 1 some do not, or error.`,
		Example: `  berthctl connectivity
  berthctl connectivity --all --pool default
  berthctl connectivity --from n1,n2 --timeout 2m -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			err := cmp.Or(noArgs(cmd, args), positive("--timeout", o.Patience), flatNames(&o.Flat))
			if err == nil && o.all && len(o.From) > 0 {
				err = errors.New("got both --all and --from: want one of them")
			}
			return err
		},
		RunE: c.operation(record.OperationInsert, func(ctx context.Context, store *lease.Operator, _ []string) error {
			return c.doConnectivity(ctx, store, o)
		}),
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.From, "from", nil, "`names` of the nodes whose containers ask, with commas (default: the node that this runs on)")
	f.BoolVar(&o.all, "all", false, "the containers of all nodes ask")
	f.StringSliceVar(&o.Nodes, "nodes", nil, "`names` of the nodes that take part, with commas (default: all that are live)")
	f.StringSliceVar(&o.Pools, "pool", nil, "`names` of the pools, with commas (default: all)")
	f.DurationVar(&o.Patience, "timeout", time.Minute, "how `long` it may take")
	f.StringVar(&o.Flat.Bridge, "bridge", "", "`name` of the bridge, for a flat pool on a node that has no container of it")
	f.StringVar(&o.Flat.Uplink, "uplink", "", "`name` of the NIC that is put into that bridge")
	f.BoolVar(&o.Flat.IPMasq, "masquerade", false, "containers on that bridge are hidden behind the node's address towards the world")
	_ = cmd.RegisterFlagCompletionFunc("pool", c.complete(0, poolNames))
	return cmd
}

// flatNames refuses what no interface can be called.
func flatNames(flat *record.CheckNetwork) error {
	for flag, name := range map[string]string{"--bridge": flat.Bridge, "--uplink": flat.Uplink} {
		if name == "" {
			continue
		}
		if err := ifname.Validate(flag, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *ctl) doConnectivity(ctx context.Context, store *lease.Operator, o connectivityOrder) error {
	if err := store.Config.Allow(ctx, record.OperationDelete); err != nil { // else the containers would stay
		return err
	}
	config, err := store.Config.Read(ctx)
	if err != nil {
		return err
	}
	for _, name := range o.Pools {
		if _, ok := config.Pools[name]; !ok {
			return fmt.Errorf("there is no pool %q: see berthctl get pools", name)
		}
	}
	if len(o.Pools) == 0 {
		for _, pool := range sortedPools(config) {
			o.Pools = append(o.Pools, pool.Name)
		}
	}
	if len(o.Pools) == 0 {
		return errors.New("there is no pool yet, and so no container: see berthctl apply")
	}
	if len(o.From) == 0 && !o.all {
		name, err := c.agent().Node(ctx)
		if err != nil {
			return fmt.Errorf("which node is this? %w\nname the nodes by --from, or all by --all", err)
		}
		o.From = []string{name}
	}
	o.Who = who()
	report, err := check.Ask(ctx, store.KV, o.Options)
	if err != nil {
		return err
	}
	return c.tellConnectivity(report)
}

func (c *ctl) tellConnectivity(r *check.Report) error {
	if err := c.print(r, func(w io.Writer) error { return writeConnectivity(w, r) }); err != nil {
		return err
	}
	if len(r.Failures) > 0 {
		return fmt.Errorf("%d failures among %d ways", len(r.Failures), r.Ways)
	}
	return nil
}

// writeConnectivity writes for people: a matrix for each pool and family, then the failures in words.
func writeConnectivity(w io.Writer, r *check.Report) error {
	for _, m := range r.Matrices {
		fmt.Fprintf(w, "pool %s, %s\n", m.Pool, m.Family)
		t := table{header: slices.Concat([]string{"FROM \\ TO"}, m.Nodes)}
		for _, row := range m.Rows {
			cells := []string{row.Node}
			for _, cell := range row.Cells {
				cells = append(cells, inCell(cell))
			}
			t.rows = append(t.rows, cells)
		}
		if err := t.write(w); err != nil {
			return err
		}
		for _, reason := range m.Apart {
			fmt.Fprintf(w, "not connected by design: %s\n", reason)
		}
		fmt.Fprintln(w)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(w, "%s%s\n  advice  %s\n", between(f), visible(f.Where), visible(f.Advice))
	}
	_, err := fmt.Fprintf(w, "%d ways, %d failures\n", r.Ways, len(r.Failures))
	return err
}

func inCell(cell check.Cell) string {
	switch cell.State {
	case record.CheckMTU:
		return fmt.Sprintf("MTU %d", cell.MTU)
	case check.StateApart:
		return "by design"
	case check.StateUnknown:
		return "?"
	case record.CheckUnsent:
		return "not asked"
	}
	return cell.State
}

// between names what a failure is about.
func between(f check.Failure) string {
	switch {
	case f.To != "":
		return fmt.Sprintf("%s → %s, pool %s, %s: ", f.From, f.To, f.Pool, f.Family)
	case f.Family != "":
		return fmt.Sprintf("%s, pool %s, %s: ", f.From, f.Pool, f.Family)
	}
	return ""
}
