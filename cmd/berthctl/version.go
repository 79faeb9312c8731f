package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A setFlags says which containers are meant, together with the words of the command line.
type setFlags struct{ app, node, pool, live given }

func (s *setFlags) add(fs *pflag.FlagSet) {
	fs.Var(&s.app, rollout.ByApp, "only the containers of an app: `NAMESPACE/APP`")
	fs.Var(&s.node, rollout.ByNode, "only those on a node: its `name`")
	fs.Var(&s.pool, rollout.ByPool, "only those with addresses of a pool: its `name`")
	fs.Var(&s.live, rollout.ByLive, "do not count what only new containers can get")
	fs.Lookup(rollout.ByLive).NoOptDefVal = "true"
}

// A given is every value that a flag was given: one that is there twice is refused as a parameter is, which is there twice.
type given []string

func (g *given) String() string         { return strings.Join(*g, ", ") }
func (g *given) Type() string           { return "" }
func (g *given) Set(value string) error { *g = append(*g, value); return nil }

// selector is what the words and the flags mean. An empty flag is none that was left out: a script may have lost its value.
func (s *setFlags) selector(words []string) (rollout.Selector, error) {
	parameters := map[string][]string{}
	if len(words) > 0 {
		parameters[rollout.ByContainer] = words
	}
	for name, values := range map[string]given{rollout.ByApp: s.app, rollout.ByNode: s.node, rollout.ByPool: s.pool, rollout.ByLive: s.live} {
		if values != nil {
			parameters[name] = values
		}
	}
	return rollout.SelectorOf(parameters)
}

func (c *ctl) version() *cobra.Command {
	var set setFlags
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "version [CONTAINER...]",
		Short: "Print whether a set of containers has the present configuration",
		Long: `Version prints the revision of the cluster's configuration, which revision each container of a set has applied, and
whether the whole set has completed the update. The set is the CONTAINERs, which are IDs or their beginnings, or those
that the flags leave over: without any, all of the cluster.

A set of named containers is complete when each of them has the revision. Any other is complete when moreover every live
node, or the one of --node, has reported that it has applied it: so it is never said to be complete too early.

Some changes reach only containers that are made after them: name resolution (dns), and where another plugin made the
interface (role ipam) its mtu, routes and gateways. A container that was made before is not up to date until it is made
anew, and the reason says what it lacks. With --live that does not count.

With --wait it follows the roll-out until the set is complete or the time is over. The exit code is 0 when the set is
complete, 3 when it is not, and 1 when the set names what is not there.

As JSON: revision, complete, upToDate (containers that have it), total, containers (each with network, id, interface,
node, class, namespace, app, member, workload, pool, addresses, applied, upToDate, the reason if it is not, and remake if
it must be made anew), and nodes (the live ones that have not applied it yet, each with node and applied).

For the version of the program see "berthctl --version".`,
		Example: `  berthctl version
  berthctl version --app shop/web --wait --live --timeout 2m
  berthctl version 4f1c0d6a8a1e 0b7e -o json
  berthctl version --node n1`,
		Args: func(_ *cobra.Command, words []string) error {
			_, err := set.selector(words)
			return cmp.Or(err, positive("--timeout", timeout))
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, words []string) error {
			selector, err := set.selector(words)
			if err != nil {
				return err
			}
			v, err := c.readVersion(ctx, store, selector, wait, timeout)
			if err != nil {
				return err
			}
			return c.tellVersion(v, wait)
		}),
		ValidArgsFunction: c.complete(0, containerIDs),
	}
	set.add(cmd.Flags())
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the set is complete")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how `long` to wait")
	_ = cmd.RegisterFlagCompletionFunc("node", c.complete(0, nodeNames))
	_ = cmd.RegisterFlagCompletionFunc("pool", c.complete(0, poolNames))
	return cmd
}

// readVersion gives the version of a set, with wait the one when it is complete or the time is over.
func (c *ctl) readVersion(ctx context.Context, store *lease.Operator, set rollout.Selector, wait bool,
	timeout time.Duration) (*rollout.SetVersion, error) {
	if !wait {
		return store.Rollout.Version(ctx, set)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bar := c.progress()
	defer bar.end()
	v, err := store.Rollout.WaitVersion(bounded, set, 0, func(v *rollout.SetVersion) { bar.show(v.UpToDate, v.Total, versionWords(v)) })
	if v != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return v, nil
	}
	return v, err
}

// tellVersion prints the set: all of it, or after waiting only those containers that lag.
func (c *ctl) tellVersion(v *rollout.SetVersion, laggards bool) error {
	err := c.print(v, func(w io.Writer) error { return writeVersion(w, v, laggards) })
	if err != nil || v.Complete {
		return err
	}
	return incompleteError{fmt.Errorf("revision %d is not complete: %d of %d %s", v.Revision, v.UpToDate, v.Total, versionWords(v))}
}

// versionWords follow how many of how many.
func versionWords(v *rollout.SetVersion) string {
	words := fmt.Sprintf("containers have revision %d", v.Revision)
	if len(v.Nodes) == 0 {
		return words
	}
	return words + ", waiting for " + few(nodesOf(v.Nodes))
}

func nodesOf(all []rollout.NodeVersion) []string {
	names := make([]string, len(all))
	for i, n := range all {
		names[i] = n.Node
	}
	return names
}

// few names at most three of a list.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func writeVersion(w io.Writer, v *rollout.SetVersion, laggards bool) error {
	fmt.Fprintf(w, "revision %d, complete: %s, %d of %d containers have it\n", v.Revision, yesNo(v.Complete), v.UpToDate, v.Total)
	containers := table{header: []string{"CONTAINER", "NETWORK", "INTERFACE", "NODE", "WHO", "NAMESPACE/NAME", "POOL", "ADDRESSES",
		"APPLIED", "UP TO DATE", "REASON"}}
	for _, each := range v.Containers {
		if laggards && each.UpToDate {
			continue
		}
		who := holding{Namespace: each.Namespace, App: each.App, Member: each.Member}.who()
		containers.rows = append(containers.rows, []string{
			each.ID, each.Network, each.Interface, each.Node, who, each.Workload, each.Pool, join(each.Addresses),
			strconv.FormatInt(each.Applied, 10), yesNo(each.UpToDate), each.Reason,
		})
	}
	nodes := table{header: []string{"WAITING FOR NODE", "APPLIED"}}
	for _, n := range v.Nodes {
		nodes.rows = append(nodes.rows, []string{n.Node, strconv.FormatInt(n.Applied, 10)})
	}
	unreadable := table{header: []string{"RECORD THAT CANNOT BE READ"}}
	for _, key := range v.Unreadable {
		unreadable.rows = append(unreadable.rows, []string{key})
	}
	for _, t := range []table{containers, nodes, unreadable} {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintln(w)
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}
