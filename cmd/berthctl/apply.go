package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/internal/manifest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// An applied is the answer of apply and remove.
type applied struct {
	Revision int64           `json:"revision"` // the configuration's, after the command
	Changed  bool            `json:"changed"`  // whether this command wrote it
	Changes  []record.Change `json:"changes"`
	Notes    []string        `json:"notes,omitempty"` // what of it does not come to be, or not everywhere
}

func (c *ctl) apply() *cobra.Command {
	var file, message string
	var dryRun, wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Bring the configuration to what a file says",
		Long: `Apply brings the configuration to what a file says, and prints the difference.

A pool that the file does not name stays as it is, and so do the settings. Of a pool that it names, and of the settings
if it names them, a key that is absent goes back to its default; only a pool that is draining stays so until the file says
"draining: false" of it. The file is YAML or JSON.

Nothing is taken from who has it: a gateway that somebody has, or a stateful range that shrinks below a reservation, is
refused with the holder's name, and what is excluded stays with who has it. A pool's mode changes only while nobody uses
the pool: drain and remove it first, or make another one. A CIDR is added, replaced by one that contains it, or removed
while nobody uses it: "drain: true" in its entry lets nobody have an address of it anew, and with --wait apply waits until
nobody has one. A gateway moves in two changes: the first excludes its address, and when the node that may give it out has
applied that, the second moves it. More pools than etcd takes at once are several changes, too. If one fails, those before
it are in: apply again to go on.

The difference is made from the configuration as it was when the command began: if someone else changes it meanwhile,
nothing is written, and the exit code is 4.`,
		Example: `  berthctl apply -f pools.yaml --dry-run
  berthctl apply -f pools.yaml --message "smaller MTU for the tunnel"
  berthctl get pools -o yaml | sed 's/mtu: 1500/mtu: 1400/' | berthctl apply -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(noArgs(cmd, args), positive("--timeout", timeout))
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, _ []string) error {
			base, err := store.Config.Read(ctx)
			if err != nil {
				return err
			}
			m, err := c.read(ctx, file)
			if err != nil {
				return err
			}
			next := m.On(base)
			steps, err := store.Editor.Plan(ctx, base, next)
			if wait && !dryRun {
				base, next, steps, err = c.awaitUnused(ctx, store, m, timeout, draft{base, next, steps}, err)
			}
			if err != nil {
				return err
			}
			a := applied{Revision: base.Revision, Changes: config.Diff(base, next)}
			if a.Notes, err = notesOf(ctx, store, m, base, next, a.Changes); err != nil {
				return err
			}
			if dryRun {
				return c.tellApplied(a, inSteps("nothing is written: this is a dry run", steps))
			}
			bar := c.progress()
			after, err := store.Editor.ApplyInSteps(ctx, base, next, config.Applying{
				Note: config.Note{Who: who(), Message: message},
				Done: func(step, steps int, after *config.Config) {
					if steps > 1 {
						bar.show(step, steps, fmt.Sprintf("changes are in: revision %d", after.Revision))
					}
				},
				Waiting: func(why error) { bar.show(0, 1, "waiting: "+origin.ReplaceAllString(why.Error(), "$1")) },
			})
			bar.end()
			if err != nil {
				return err
			}
			a.Revision, a.Changed = after.Revision, after.Revision != base.Revision
			return c.tellApplied(a, "")
		}),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the configuration `file`; - is the standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the difference and write nothing")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until nobody uses the draining CIDRs that the file removes")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how `long` to wait with --wait")
	cmd.Flags().Var((*sentence)(&message), "message", "`words` for the history")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	return cmd
}

// inSteps adds to words how many changes something takes, where that is more than one.
func inSteps(words string, steps int) string {
	if steps < 2 {
		return words
	}
	return fmt.Sprintf("%s; it takes %d changes, each with its own revision", words, steps)
}

// notesOf says what of a change does not come to be, or not everywhere, and who keeps what.
func notesOf(ctx context.Context, store *lease.Operator, m *manifest.Manifest, base, next *config.Config,
	changes []record.Change) ([]string, error) {
	notes := append(switchedOff(base, next), outOfReach(base, changes)...)
	for _, pool := range m.Pools {
		if next.Pools[pool.Name].Draining && !m.SaysDraining(pool.Name) {
			notes = append(notes, fmt.Sprintf("pool %s is draining, and stays so: write \"draining: false\" "+
				"into the file to take it back into use", pool.Name))
		}
	}
	own, err := nodesGateways(ctx, store, base, next)
	if err != nil {
		return nil, err
	}
	notes = append(notes, own...)
	words, count, err := store.Editor.Excluded(ctx, base, next)
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		notes = append(notes, "excluded, "+w)
	}
	if more := count - len(words); more > 0 {
		notes = append(notes, fmt.Sprintf("and %d more addresses stay with who has them", more))
	}
	return notes, nil
}

// nodesGateways says which gateways that are new are addresses of nodes, as far as the nodes tell: those do not answer as
// the pool's bridges do.
func nodesGateways(ctx context.Context, store *lease.Operator, base, next *config.Config) (notes []string, err error) {
	records, err := store.Nodes.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, pool := range sortedPools(next) {
		for _, gateway := range pool.Gateways {
			if slices.Contains(base.Pools[pool.Name].Gateways, gateway) {
				continue
			}
			for _, n := range records {
				if n.Address == gateway.String() {
					notes = append(notes, fmt.Sprintf("pool %s: the gateway %s is the address of node %s itself (--node-address): other nodes' "+
						"bridges take it, too; choose another", pool.Name, gateway, n.Name))
				}
			}
		}
	}
	return notes, nil
}

// read parses a file, or the standard input.
func (c *ctl) read(ctx context.Context, file string) (*manifest.Manifest, error) {
	name, data, err := c.input(ctx, file)
	if err != nil {
		return nil, err
	}
	return manifest.Parse(name, data)
}

// tellApplied prints the difference and the revision. Remark, if any, is said in place of that the revision is new.
func (c *ctl) tellApplied(a applied, remark string) error {
	if a.Changes == nil {
		a.Changes = []record.Change{}
	}
	return c.print(a, func(w io.Writer) error {
		for _, change := range a.Changes {
			fmt.Fprintln(w, change)
		}
		for _, note := range a.Notes {
			fmt.Fprintln(w, "note:", note)
		}
		state := "new revision " + strconv.FormatInt(a.Revision, 10)
		switch {
		case len(a.Changes) == 0:
			state = fmt.Sprintf("nothing to do: revision %d says so already", a.Revision)
		case remark != "":
			state = remark
		}
		_, err := fmt.Fprintln(w, state)
		return err
	})
}

// who is what the history says of the author: the user and the machine, as this process knows them.
func who() string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if asker := os.Getenv("SUDO_USER"); asker != "" && os.Getuid() == 0 {
		name = asker
	}
	host, _ := os.Hostname()
	return name + "@" + cmp.Or(host, "unknown")
}
