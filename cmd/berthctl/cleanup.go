package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/agent/exclusive"
	"github.com/berth-ipam/berth/netops"
	"github.com/berth-ipam/berth/netops/hold"
)

func (c *ctl) cleanNode() *cobra.Command {
	var dryRun, force bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take away what Berth has put on this machine",
		Long: `Node cleanup takes away all that Berth has put into the kernel of the machine that it runs on: containers' ports,
bridges, gateways, routes, nftables tables, and the files in the run directory. A NIC that is in one of Berth's bridges
gets its addresses and routes back first. It needs root, and no agent may run: stop berthd before.

Settings of the kernel that Berth has changed since the boot, as that the host forwards packets, get their values back,
where nobody has changed them since. Where another program relies on one of them by now, let it set that again.

It is refused while containers have ports; with --force they are cut off. The directory in which berthd keeps an etcd of
its own stays. In etcd the node stays as it was: berthctl node remove gives back what it has there.`,
		Example: `  berthctl node cleanup --dry-run
  berthctl node cleanup`,
		Args: wantArgs(0, 0, ""),
		RunE: func(*cobra.Command, []string) error { return c.doCleanNode(dryRun, force) },
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be taken away, and do nothing")
	cmd.Flags().BoolVar(&force, "force", false, "also where containers have ports, which are cut off")
	return cmd
}

// A leftover is something of Berth's on this machine, and what became of it.
type leftover struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
}

func (c *ctl) doCleanNode(dryRun, force bool) error {
	if !dryRun {
		free, err := c.noAgent()
		if err != nil {
			return err
		}
		defer free()
	}
	remnants, err := netops.Remnants(filepath.Join(*c.runDir, netops.SettingsFile))
	if err != nil {
		return err
	}
	if ports := portsAmong(remnants); len(ports) > 0 && !dryRun && !force {
		return fmt.Errorf("containers have ports on this machine (%d in all: %s): delete the containers, or give --force, which cuts them off",
			len(ports), strings.Join(ports[:min(len(ports), 5)], ", "))
	}
	var all []leftover
	var failed []error
	for _, r := range remnants {
		l := leftover{r.Kind, r.Name, "removed"}
		switch {
		case r.Stays != "":
			l.Outcome = "stays: " + r.Stays
		case dryRun:
			l.Outcome = "would be removed"
		default:
			if err := r.Remove(); err != nil {
				l.Outcome, failed = "failed: "+err.Error(), append(failed, err)
			}
		}
		all = append(all, l)
	}
	files, err := c.cleanRunDir(dryRun, len(failed) > 0)
	all = append(all, files...)
	err = errors.Join(append(failed, err)...)
	return errors.Join(c.print(all, func(w io.Writer) error { return writeLeftovers(w, all) }), err)
}

// noAgent makes sure that no agent runs on this machine, and that none begins to until free is called.
func (c *ctl) noAgent() (free func(), err error) {
	lock, err := exclusive.Lock(*c.runDir, "berthctl node cleanup")
	if err != nil {
		return nil, fmt.Errorf("%w: stop berthd first", err)
	}
	held, err := hold.Namespace("berthctl node cleanup")
	switch {
	case err == nil:
		return func() { held.Close(); lock.Close() }, nil
	case errors.Is(err, hold.ErrUnsupported):
		return func() { lock.Close() }, nil
	}
	return nil, errors.Join(fmt.Errorf("%w: stop berthd first", err), lock.Close())
}

func portsAmong(remnants []netops.Remnant) (names []string) {
	for _, r := range remnants {
		if r.Kind == netops.RemnantPort {
			names = append(names, r.Name)
		}
	}
	return names
}

// cleanRunDir removes what the agent keeps in the run directory; the directory itself, and the lock in it, stay, and where something has
// failed what the kernel's settings were.
func (c *ctl) cleanRunDir(dryRun, failed bool) (all []leftover, err error) {
	entries, err := os.ReadDir(*c.runDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.Name() == exclusive.File || failed && e.Name() == netops.SettingsFile {
			continue
		}
		l := leftover{"file", filepath.Join(*c.runDir, e.Name()), "would be removed"}
		if !dryRun {
			l.Outcome = "removed"
			if gone := os.RemoveAll(l.Name); gone != nil {
				l.Outcome, err = "failed: "+gone.Error(), errors.Join(err, gone)
			}
		}
		all = append(all, l)
	}
	return all, err
}

func writeLeftovers(w io.Writer, all []leftover) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing of Berth's is on this machine")
		return err
	}
	t := table{header: []string{"KIND", "NAME", "OUTCOME"}}
	for _, l := range all {
		t.rows = append(t.rows, []string{l.Kind, l.Name, l.Outcome})
	}
	return t.write(w)
}
