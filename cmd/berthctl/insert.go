package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/internal/manifest"
)

func (c *ctl) insert() *cobra.Command {
	var one client.Container
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	containerFlags(own, &one)
	var file string
	var each bool
	cmd := &cobra.Command{
		Use:   "insert CONTAINER | insert -f SET.yaml",
		Short: "Give containers of this node addresses and interfaces",
		Long: `Insert gives a CONTAINER of this node, or the set of them that a file names, addresses and interfaces, as a container
runtime does through CNI. A stateless container gets a leased address, a stateful one the address reserved for its
member, or a free one of the pool's stateful ranges. Repeating it is harmless.

A set of up to 1000 is inserted as a whole or not at all; with --each what can be done is done, and the exit code is 1
if something could not. The file has one key, containers: a list of id, netns or pid, and whatever of interface,
network, role, class, namespace, app, member, pool, addresses, mac, bridge, uplink and masquerade is not the default.
It is for the root of this node.`,
		Example: `  berthctl insert web-1 --netns /run/netns/web-1 --namespace shop --app web
  berthctl insert db-0 --pid 4242 --class stateful --namespace shop --app db --member db-0
  berthctl insert -f set.yaml --each`,
		Args: func(cmd *cobra.Command, words []string) (err error) {
			own.VisitAll(func(f *pflag.Flag) {
				if file != "" && f.Changed {
					err = fmt.Errorf("%s got both a file and --%s: want that in the file", cmd.CommandPath(), f.Name)
				}
			})
			err = cmp.Or(err, interfaceNames(&one), setArgs(&file, 1, "a CONTAINER, which is its ID")(cmd, words))
			if err == nil && file == "" {
				err = namespace(&one)
			}
			return err
		},
		RunE: func(cmd *cobra.Command, words []string) error {
			set := []client.Container{one}
			if file != "" {
				var err error
				if set, err = c.readSet(cmd.Context(), file); err != nil {
					return err
				}
			} else {
				set[0].ID = words[0]
			}
			results, err := c.inSteps(cmd.Context(), set, !each, "containers inserted",
				func(ctx context.Context, some []client.Container) ([]client.Result, error) {
					return c.agent().Insert(ctx, some, client.InsertOptions{Each: each})
				})
			if err != nil {
				return err
			}
			return c.tellOutcomes(outcomes(set, results, stateInserted))
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().AddFlagSet(own)
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&each, "each", false, "insert what can be inserted, instead of all or nothing")
	_ = cmd.RegisterFlagCompletionFunc("pool", c.complete(0, poolNames))
	_ = cmd.RegisterFlagCompletionFunc("class", cobra.FixedCompletions([]string{"stateless", "stateful"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("role",
		cobra.FixedCompletions([]string{client.Interface, client.IPAM}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// containerFlags are those of one container. An empty one means the default of package client.
func containerFlags(fs *pflag.FlagSet, one *client.Container) {
	fs.StringVar(&one.Netns, "netns", "", "`path` of the container's network namespace")
	fs.IntVar(&one.PID, "pid", 0, "`number` of a process of the container, instead of --netns")
	fs.StringVar(&one.Network, "network", "berth", "`name` of the network")
	fs.StringVar(&one.Interface, "interface", "eth0", "`name` of the interface in the container")
	fs.StringVar(&one.Role, "role", client.Interface, "`what` Berth makes: the interface, or with ipam the address alone")
	fs.StringVar(&one.Class, "class", "stateless", "stateless or stateful: the `class` of its app")
	fs.StringVar(&one.Namespace, "namespace", "", "`name` of the app's namespace (default \"default\")")
	fs.StringVar(&one.App, "app", "", "`name` of its app")
	fs.StringVar(&one.Member, "member", "", "`name` of the member of a stateful app that it is")
	fs.StringVar(&one.Pool, "pool", "", "`name` of the pool (default \"default\")")
	fs.Var((*addressList)(&one.Addresses), "address", "the `address` that it is to have; two, separated by a comma, in a pool of two families")
	fs.StringVar(&one.MAC, "mac", "", "the `MAC` that its interface is to have")
	fs.StringVar(&one.Bridge, "bridge", "", "`name` of the bridge (default \""+client.DefaultBridge+"\")")
	fs.StringVar(&one.Uplink, "uplink", "", "`name` of the NIC that is put into the bridge")
	fs.BoolVar(&one.Masquerade, "masquerade", false, "hide its address behind the node's towards the world outside the pool")
}

// interfaceNames refuses what no interface can be called.
func interfaceNames(one *client.Container) error {
	for flag, name := range map[string]string{"--interface": one.Interface, "--bridge": one.Bridge, "--uplink": one.Uplink} {
		if name == "" {
			continue // its default
		}
		if err := ifname.Validate(flag, name); err != nil {
			return err
		}
	}
	return nil
}

// namespace refuses a container of which nobody could tell where it is.
func namespace(one *client.Container) error {
	switch {
	case one.PID < 0:
		return fmt.Errorf("--pid %d: want the number of a process of the container", one.PID)
	case one.PID != 0 && one.Netns != "":
		return errors.New("got both --pid and --netns: want one of them")
	case one.PID == 0 && one.Netns == "" && one.Role == client.Interface:
		return errors.New("where is the container? want --netns /run/netns/NAME, or --pid with the number of one of its processes")
	}
	return nil
}

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", "`file` that names a set of containers; - is the standard input")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
}

// setArgs checks that a command got a file, or else at least one word and at most max (0: no bound).
func setArgs(file *string, max int, words string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case *file != "" && len(args) > 0:
			return fmt.Errorf("%s got both a file and %q: want one of them", cmd.CommandPath(), args)
		case *file != "":
			return nil
		}
		return wantArgs(1, max, words+", or a set with -f")(cmd, args)
	}
}

// readSet reads the containers that a file, or the standard input, names.
func (c *ctl) readSet(ctx context.Context, file string) ([]client.Container, error) {
	name, data, err := c.input(ctx, file)
	if err != nil {
		return nil, err
	}
	return manifest.ParseSet(name, data)
}
