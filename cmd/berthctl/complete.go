package main

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/flags"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A lister gives the words that can stand in a place, as the cluster has them now.
type lister func(ctx context.Context, store *lease.Operator) ([]string, error)

// complete offers the shell what list gives for each of the first n words (0: for all). While etcd is away it offers nothing.
func (c *ctl) complete(n int, list lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if n > 0 && len(args) >= n || flags.Environment(cmd.Root().PersistentFlags()) != nil {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), patience)
		defer cancel()
		store, err := c.open(ctx)
		if err != nil {
			return nil, nothing
		}
		defer store.KV.Close()
		words, err := list(ctx, store)
		if err != nil {
			return nil, nothing
		}
		return slices.DeleteFunc(words, func(w string) bool { return slices.Contains(args, w) }), nothing
	}
}

func poolNames(ctx context.Context, store *lease.Operator) ([]string, error) {
	config, err := store.Config.Read(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(config.Pools)), nil
}

func nodeNames(ctx context.Context, store *lease.Operator) ([]string, error) {
	nodes, err := store.Nodes.Nodes(ctx)
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	return names, err
}

func containerIDs(ctx context.Context, store *lease.Operator) ([]string, error) {
	v, err := store.Rollout.Version(ctx, rollout.Selector{})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, each := range v.Containers {
		ids = append(ids, each.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func memberNames(ctx context.Context, store *lease.Operator) ([]string, error) {
	if err := store.Config.Allow(ctx, record.OperationRead); err != nil {
		return nil, err
	}
	reservations, err := store.Reservations.List(ctx)
	var members []string
	for _, r := range reservations {
		members = append(members, r.Identity.String())
	}
	slices.Sort(members)
	return slices.Compact(members), err
}
