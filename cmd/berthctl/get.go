package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
)

// A kind is one of the lists that get prints.
type kind[T any] struct {
	name    string // plural, as people write it; also the one key of the JSON and YAML forms
	what    string // what the list holds
	key     string // what picks one of it
	example string
	list    func(ctx context.Context, store *lease.Operator) ([]T, error)
	keyOf   func(T) string
	header  []string
	row     func(T) []string // the cells under the header
	named   bool             // it names containers, so that it needs the operation read
}

func (c *ctl) get() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KIND",
		Short: "Print pools, nodes, blocks, assignments, reservations, settings or the history",
		Long: `Get prints what the cluster has of a kind: all, or the one that is named.

With -o json and -o yaml the answer has one key, the kind, and under it a list (of settings: their keys). What
"get pools" and "get settings" print as YAML can be given to "berthctl apply".`,
		Example: `  berthctl get pools
  berthctl get blocks -o json
  berthctl get reservations 10.42.0.17
  berthctl get settings -o yaml`,
	}
	cmd.AddCommand(
		c.pools().command(c), c.nodes().command(c), c.blocks().command(c), c.assignments().command(c),
		c.reservations().command(c), c.history().command(c), c.settings(),
	)
	group(cmd)
	return cmd
}

func (k kind[T]) command(c *ctl) *cobra.Command {
	return &cobra.Command{
		Use:     fmt.Sprintf("%s [%s]", k.name, k.key),
		Short:   "Print " + k.what,
		Long:    fmt.Sprintf("Get %s prints %s: all, or the one of %s.", k.name, k.what, k.key),
		Example: k.example,
		Args:    wantArgs(0, 1, "at most one "+k.key),
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, args []string) error {
			items, err := k.allowed(ctx, store)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if items, err = k.pick(items, args[0]); err != nil {
					return err
				}
			}
			return k.print(c, items)
		}),
		ValidArgsFunction: c.complete(1, k.keys),
	}
}

// pick gives the one item that has the key.
func (k kind[T]) pick(items []T, key string) ([]T, error) {
	keys := make([]string, len(items))
	for i, item := range items {
		if keys[i] = k.keyOf(item); keys[i] == key {
			return []T{item}, nil
		}
	}
	if meant, ok := nearest.Word(key, keys); ok {
		return nil, fmt.Errorf("%s: there is no %q: did you mean %q?", k.name, key, meant)
	}
	return nil, fmt.Errorf("%s: there is no %q: see \"berthctl get %s\"", k.name, key, k.name)
}

func (k kind[T]) print(c *ctl, items []T) error {
	if items == nil {
		items = []T{}
	}
	return c.print(map[string][]T{k.name: items}, k.table(items).write)
}

func (k kind[T]) table(items []T) table {
	t := table{header: k.header}
	for _, item := range items {
		t.rows = append(t.rows, k.row(item))
	}
	return t
}

// allowed is the list, unless the settings keep it from being told.
func (k kind[T]) allowed(ctx context.Context, store *lease.Operator) ([]T, error) {
	if k.named {
		if err := store.Config.Allow(ctx, record.OperationRead); err != nil {
			return nil, err
		}
	}
	return k.list(ctx, store)
}

func (k kind[T]) keys(ctx context.Context, store *lease.Operator) ([]string, error) {
	items, err := k.allowed(ctx, store)
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = k.keyOf(item)
	}
	return keys, err
}
