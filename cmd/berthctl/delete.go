package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/lease/rollout"
)

func (c *ctl) delete() *cobra.Command {
	var file, app string
	var how client.DeleteOptions
	cmd := &cobra.Command{
		Use:   "delete CONTAINER... | delete --app NAMESPACE/APP | delete -f SET.yaml",
		Short: "Take back what containers of this node have",
		Long: `Delete takes the interfaces away that Berth made for containers of this node, and the addresses back. A stateless
address stays leased to the app for a while; a reserved one stays reserved for its member, unless --release is given.

A CONTAINER is an ID or its beginning, and means all its interfaces; NETWORK/ID/INTERFACE means one, and is understood
without etcd. With --app it is all containers of the app that run on this node. Each is deleted whatever becomes of the
others, and the exit code is 1 if one could not be. What is not there is done already. It is for the root of this node.`,
		Example: `  berthctl delete web-1
  berthctl delete --app shop/web --dry-run
  berthctl delete berth/db-0/eth0 --release
  berthctl delete -f set.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			named := cmd.Flags().Changed("app")
			if named {
				if _, err := rollout.ParseApp(app); err != nil {
					return err
				}
			}
			if named && file == "" && len(args) == 0 {
				return nil
			}
			if named && file == "" {
				return fmt.Errorf("%s got both --app and %q: want one of them", cmd.CommandPath(), args)
			}
			if named {
				return fmt.Errorf("%s got both a file and --app: want one of them", cmd.CommandPath())
			}
			return setArgs(&file, 0, "a CONTAINER")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			set, err := c.toDelete(cmd.Context(), file, app, words)
			if err != nil {
				return err
			}
			how.Each = true
			return c.deleteSet(cmd.Context(), set, how)
		},
		ValidArgsFunction: c.complete(0, containerIDs),
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVar(&app, "app", "", "all containers of an app: `NAMESPACE/APP`")
	cmd.Flags().BoolVar(&how.Release, "release", false, "stateful members give their reserved addresses up, too")
	cmd.Flags().BoolVar(&how.DryRun, "dry-run", false, "only print what would be given back")
	return cmd
}

func (c *ctl) deleteSet(ctx context.Context, set []client.Container, how client.DeleteOptions) error {
	if len(set) == 0 {
		return c.tellOutcomes([]outcome{})
	}
	results, err := c.inSteps(ctx, set, false, "containers deleted",
		func(ctx context.Context, some []client.Container) ([]client.Result, error) {
			return c.agent().Delete(ctx, some, how)
		})
	if err != nil {
		return err
	}
	state := stateDeleted
	if how.DryRun {
		state = stateFound
	}
	return c.tellOutcomes(outcomes(set, results, state))
}

// toDelete are the containers that the command line means: those of a file, those spelled out, and of those that the
// cluster knows the ones on this node.
func (c *ctl) toDelete(ctx context.Context, file, app string, words []string) ([]client.Container, error) {
	if file != "" {
		return c.readSet(ctx, file)
	}
	var set []client.Container
	var names []string
	for _, word := range words {
		if parts := strings.Split(word, "/"); len(parts) == 3 {
			set = append(set, client.Container{Network: parts[0], ID: parts[1], Interface: parts[2]})
		} else {
			names = append(names, word)
		}
	}
	if len(names) == 0 && app == "" {
		return set, nil
	}
	v, err := c.agent().Version(ctx, client.Select{Containers: names, App: app})
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Code == client.CodeOperation {
		return nil, fmt.Errorf("%w\nto find out what is meant takes the operation read: name each container as NETWORK/ID/INTERFACE instead", err)
	}
	if err != nil {
		return nil, err
	}
	here, err := c.here(ctx, v.Containers)
	if err == nil && app == "" {
		err = allHere(here, v.Containers)
	}
	return append(set, here...), err
}

// here are those that this node's agent has.
func (c *ctl) here(ctx context.Context, all []client.ContainerVersion) ([]client.Container, error) {
	var set []client.Container
	for from := 0; from < len(all); from += client.MaxSet {
		var some []client.Container
		for _, v := range all[from:min(from+client.MaxSet, len(all))] {
			some = append(some, client.Container{Network: v.Network, ID: v.ID, Interface: v.Interface})
		}
		results, err := c.agent().Delete(ctx, some, client.DeleteOptions{Each: true, DryRun: true})
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			if r.Class != "" {
				set = append(set, some[i])
			}
		}
	}
	return set, nil
}

// allHere is an error that names the nodes of those containers that are not here.
func allHere(here []client.Container, all []client.ContainerVersion) error {
	var errs []error
	for _, v := range all {
		found := false
		for _, h := range here {
			found = found || h.ID == v.ID && h.Network == v.Network && h.Interface == v.Interface
		}
		if !found {
			errs = append(errs, fmt.Errorf("container %s is on node %s: delete it there", v.ID, v.Node))
		}
	}
	return errors.Join(errs...)
}
