package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/doctor"
)

// A findingsError says that something is left that is wrong.
type findingsError struct{ error }

func (c *ctl) doctor() *cobra.Command {
	var patience time.Duration
	var fix bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find where etcd, the nodes' journals and their kernels disagree, and repair it",
		Long: `Doctor asks every agent what its journal and its kernel hold, reads all that etcd has, and prints each disagreement
with its cause and the command that repairs it. It looks several times: what is on its way is no finding.

With --fix it repairs what is safe, and looks again. Each repair in etcd compares all that the finding rests upon, so
nothing is changed that has changed meanwhile; repairs on a node are left to its agent, which settles anew. What a
person must decide is left, with what to do. A note says what is good to know, where nothing is wrong.

Exit codes: 0 nothing is wrong, or all was repaired; 1 error; 3 something is left.`,
		Example: `  berthctl doctor
  berthctl doctor --fix
  berthctl doctor --timeout 30s -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(noArgs(cmd, args), positive("--timeout", patience))
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, _ []string) error {
			c.examines = true
			o := doctor.Options{Who: who(), Patience: patience}
			report, err := doctor.Examine(ctx, store, o)
			if err == nil && fix {
				report, err = doctor.Fix(ctx, store, report, o)
			}
			if err != nil {
				return err
			}
			return c.tellReport(report)
		}),
	}
	cmd.Flags().DurationVar(&patience, "timeout", 10*time.Second, "how `long` agents may take to answer")
	cmd.Flags().BoolVar(&fix, "fix", false, "repair what is safe, and look again")
	return cmd
}

func (c *ctl) tellReport(r *doctor.Report) error {
	if err := c.print(r, func(w io.Writer) error { return writeReport(w, r) }); err != nil {
		return err
	}
	switch fixable, left := fixable(r), r.Left(); {
	case left == 0:
		return nil
	case fixable > 0:
		return findingsError{fmt.Errorf("%d found; berthctl doctor --fix repairs %d", left, fixable)}
	default:
		return findingsError{fmt.Errorf("%d found, which a person has to repair", left)}
	}
}

func fixable(r *doctor.Report) (n int) {
	for _, f := range r.Findings {
		if f.Fix && !f.Note {
			n++
		}
	}
	return n
}

// writeReport writes for people: a paragraph for each finding, since its sentences are too long for a table's cells.
func writeReport(w io.Writer, r *doctor.Report) error {
	for _, f := range r.Repaired {
		writeFinding(w, "repaired: ", f)
	}
	for _, f := range r.Findings {
		before := ""
		if f.Note {
			before = "note: "
		}
		writeFinding(w, before, f)
		how := "repair"
		if f.Fix {
			how = "--fix"
		}
		fmt.Fprintf(w, "  %-6s %s\n", how, f.Repair)
	}
	_, err := fmt.Fprintf(w, "%d nodes answered, %d did not, %d are away; etcd is at revision %d: %d wrong, %d repaired\n",
		len(r.Answered), len(r.Silent), len(r.Away), r.Revision, r.Left(), len(r.Repaired))
	return err
}

func writeFinding(w io.Writer, before string, f doctor.Finding) {
	var where []string
	for _, place := range []struct{ what, name string }{{"", f.Key}, {"node ", f.Node}, {"container ", f.Container}} {
		if place.name != "" {
			where = append(where, place.what+place.name)
		}
	}
	fmt.Fprintf(w, "%s%s  %s\n  cause  %s\n", before, f.Kind, strings.Join(where, ", "), strings.ReplaceAll(f.Cause, "\n", "; "))
}

// left reports whether err says that something was found.
func left(err error) bool {
	_, ok := errors.AsType[findingsError](err)
	return ok
}
