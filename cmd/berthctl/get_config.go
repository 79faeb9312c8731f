package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// A poolRow is a pool and what a table shows of it besides. JSON and YAML have the pool alone, so that they can be applied.
type poolRow struct {
	allocator.Pool
	machines []record.Part
}

func (c *ctl) pools() kind[poolRow] {
	return kind[poolRow]{
		name: "pools", what: "the pools as they are configured", key: "NAME",
		example: "  berthctl get pools\n  berthctl get pools default -o yaml",
		list:    poolRows,
		keyOf:   func(p poolRow) string { return p.Name },
		header:  []string{"NAME", "CIDRS", "MODE", "GATEWAYS", "STATEFUL", "EXCLUDED", "MACHINES", "MTU", "REUSE", "COOLDOWN", "RETAIN", "STATE"},
		row: func(p poolRow) []string {
			return []string{
				p.Name, cidrs(p.Pool), mode(p.Pool), join(p.AllGateways()), join(p.Stateful), join(p.Exclude), machines(p.machines),
				mtu(p.Pool), span(p.Reuse), span(p.Cooldown), retain(p.Retain), poolState(p.Pool),
			}
		},
	}
}

func poolRows(ctx context.Context, store *lease.Operator) ([]poolRow, error) {
	config, err := store.Config.Read(ctx)
	if err != nil {
		return nil, err
	}
	blocks, err := store.Blocks.List(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string][]record.Part{}
	for _, b := range blocks {
		of[b.Pool] = append(of[b.Pool], b.Machines()...)
	}
	var rows []poolRow
	for _, pool := range sortedPools(config) {
		rows = append(rows, poolRow{pool, of[pool.Name]})
	}
	return rows, nil
}

// machines are the addresses of nodes themselves, which nobody is given. A few are named.
func machines(parts []record.Part) string {
	const named = 3
	var words []string
	for i, p := range parts {
		if i == named {
			words = append(words, fmt.Sprintf("and %d more (get blocks)", len(parts)-named))
			break
		}
		words = append(words, fmt.Sprintf("%s(%s)", p.Prefix.Addr(), p.Node))
	}
	return strings.Join(words, ",")
}

func sortedPools(config *config.Config) []allocator.Pool {
	var pools []allocator.Pool
	for _, name := range slices.Sorted(maps.Keys(config.Pools)) {
		pools = append(pools, config.Pools[name])
	}
	return pools
}

func poolState(p allocator.Pool) string {
	if p.Draining {
		return "draining"
	}
	return "in use"
}

// retain and mtu say what zero means.
func retain(d allocator.Duration) string {
	if d == 0 {
		return "forever"
	}
	return span(d)
}

func mtu(p allocator.Pool) string {
	switch {
	case p.MTU != 0:
		return strconv.Itoa(p.MTU)
	case p.Layer3():
		return "path" // what fits between nodes
	}
	return "bridge's"
}

// mode tells with a pool's mode whether its containers take their node's address.
func mode(p allocator.Pool) string {
	if p.IPMasq {
		return p.Mode.String() + ",ipMasq"
	}
	return p.Mode.String()
}

// cidrs tells which of a pool's CIDRs are draining.
func cidrs(p allocator.Pool) string {
	all := make([]string, len(p.CIDRs))
	for i, cidr := range p.CIDRs {
		if all[i] = cidr.String(); slices.Contains(p.DrainingCIDRs, cidr) {
			all[i] += " (draining)"
		}
	}
	return strings.Join(all, ",")
}

func (c *ctl) history() kind[record.HistoryEntry] {
	return kind[record.HistoryEntry]{
		name: "history", what: "the changes of the configuration", key: "NUMBER",
		example: "  berthctl get history\n  berthctl get history 12 -o yaml",
		list: func(ctx context.Context, store *lease.Operator) ([]record.HistoryEntry, error) {
			return store.Config.History(ctx)
		},
		keyOf:  func(h record.HistoryEntry) string { return strconv.FormatInt(h.Number, 10) },
		header: []string{"NUMBER", "REVISION", "AGE", "WHO", "MESSAGE", "CHANGES"},
		row: func(h record.HistoryEntry) []string {
			return []string{
				strconv.FormatInt(h.Number, 10), strconv.FormatInt(h.Revision, 10), age(c.now(), h.When), h.Who, h.Message, summary(h.Changes),
			}
		},
	}
}

// summary tells changes in a few words, such as "pool default (mtu, routes); pool lab (new)".
func summary(changes []record.Change) string {
	var objects, fields []string
	for i, change := range changes {
		switch {
		case change.Field == "name" && change.Before == "":
			fields = []string{"new"}
		case change.Field == "name" && change.After == "":
			fields = []string{"removed"}
		case !slices.Contains(fields, "new") && !slices.Contains(fields, "removed"):
			fields = append(fields, change.Field)
		}
		if i == len(changes)-1 || changes[i+1].Object != change.Object {
			objects = append(objects, fmt.Sprintf("%s (%s)", change.Object, strings.Join(fields, ", ")))
			fields = nil
		}
	}
	return strings.Join(objects, "; ")
}

// settings is no list, so it has a command of its own.
func (c *ctl) settings() *cobra.Command {
	return &cobra.Command{
		Use:     "settings",
		Short:   "Print the settings of the cluster",
		Long:    "Get settings prints the settings of the cluster: the operations allowed, the fencing mode, the times.",
		Example: "  berthctl get settings\n  berthctl get settings -o yaml > settings.yaml",
		Args:    noArgs,
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, _ []string) error {
			config, err := store.Config.Read(ctx)
			if err != nil {
				return err
			}
			s := config.Settings
			return c.print(map[string]record.Settings{"settings": s}, func(w io.Writer) error {
				return table{
					header: []string{"OPERATIONS", "FENCING", "PROBE", "SESSION", "ADDRESS LEASE"},
					rows: [][]string{{strings.Join(s.Operations, ","), s.Fencing, cmp.Or(s.Probe, record.ProbeUplink), span(s.Session),
						span(s.AddressLease)}},
				}.write(w)
			})
		}),
	}
}
