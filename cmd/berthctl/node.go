package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
)

func (c *ctl) node() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Remove a machine from the cluster, or Berth from a machine",
		Long:  "Node is what can be done to a machine that runs the agent.",
		Example: `  berthctl node remove n3
  berthctl node cleanup --dry-run`,
	}
	cmd.AddCommand(c.removeNode(), c.cleanNode())
	group(cmd)
	return cmd
}

func (c *ctl) removeNode() *cobra.Command {
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Give back what a machine has that is gone for good",
		Long: `Node remove takes from a machine that is gone whatever it has: its blocks are free, its reservations can be
attached elsewhere, its assignments are deleted. Its name is free then for another machine. Nothing is lost that a
member of a stateful app has reserved.

It is refused while the machine has a session. Else it waits until the machine's right to use its addresses has run
out, counted from now: the addressLease of the settings and a tenth if it owns blocks. A machine that comes back
meanwhile keeps what it has. With --force it does not wait, and ends the session of one that has it. That risks an
address that is live twice: a container that still runs there keeps its address until its agent hears of the removal.`,
		Example: `  berthctl node remove n3
  berthctl node remove n3 --force --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := wantArgs(1, 1, "the name of a NODE")(cmd, args); err != nil {
				return err
			}
			return record.ValidNode("node", args[0])
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, args []string) error {
			if force { // that may take from containers which run; without it only what is gone loses anything
				if err := store.Config.Allow(ctx, record.OperationDelete); err != nil {
					return err
				}
				fmt.Fprintln(c.diagnostics, forceWords(args[0]))
			}
			if force && !yes {
				if err := c.confirm(args[0]); err != nil {
					return err
				}
			}
			return c.doRemoveNode(ctx, store, args[0], force)
		}),
		ValidArgsFunction: c.complete(1, nodeNames),
	}
	cmd.Flags().BoolVar(&force, "force", false, "at once, and also one that has a session")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, with --force")
	return cmd
}

func (c *ctl) doRemoveNode(ctx context.Context, store *lease.Operator, name string, force bool) error {
	bar := c.progress()
	var whole time.Duration
	removal, err := store.Admin.RemoveNode(ctx, name, admin.RemoveOptions{Force: force, Waiting: func(left time.Duration) {
		whole = max(whole, left)
		step := max(time.Second, (whole / 100).Round(time.Second)) // a log gets a hundred lines, not one a second
		bar.show(int((whole - left).Truncate(step).Seconds()), int(whole.Seconds()),
			fmt.Sprintf("seconds waited until the right of node %s has run out", name))
	}})
	bar.end()
	if err != nil {
		return explainRemoval(ctx, store, name, err)
	}
	return c.print(removal, func(w io.Writer) error {
		return table{
			header: []string{"REMOVED", "PARTS OF BLOCKS", "ASSIGNMENTS", "ATTACHED RESERVATIONS"},
			rows:   [][]string{{removal.Node, fmt.Sprint(removal.Parts), fmt.Sprint(removal.Assignments), fmt.Sprint(removal.Reservations)}},
		}.write(w)
	})
}

// explainRemoval adds what can be done.
func explainRemoval(ctx context.Context, store *lease.Operator, name string, err error) error {
	if _, live := errors.AsType[*admin.NodeLiveError](err); live {
		return fmt.Errorf("%w\nend its agent and wait until the session has expired, or give --force. %s", err, forceWords(name))
	}
	if _, unknown := errors.AsType[*admin.UnknownNodeError](err); unknown {
		if names, listed := nodeNames(ctx, store); listed == nil {
			return fmt.Errorf("%w: %s", err, nearest.Hint(name, names))
		}
	}
	return err
}

func forceWords(name string) string {
	return fmt.Sprintf("--force takes the addresses of %s away while its containers may still use them: until its agent hears of "+
		"it, an address can be live twice.", name)
}

// confirm asks a person to write a word.
func (c *ctl) confirm(word string) error {
	fmt.Fprintf(c.diagnostics, "Write %s to go on: ", word)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if strings.TrimSpace(line) == word {
		return nil
	}
	if err != nil && line == "" {
		fmt.Fprintln(c.diagnostics)
	}
	return usageError{fmt.Errorf("nothing was done: want %q written, or --yes", word)}
}
