package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
)

func (c *ctl) rollback() *cobra.Command {
	var message string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rollback NUMBER",
		Short: "Bring back the configuration as it was after a change",
		Long: `Rollback brings back the configuration as it was after the change of that NUMBER in the history, as a new revision and
in one transaction: pools and settings become what they were, and a pool that did not exist then is removed. One of those
that is in use stays, and the answer says what uses it. The history only grows: a rollback can be rolled back.

If someone else changes the configuration meanwhile, nothing is written, and the exit code is 4.`,
		Example: `  berthctl get history
  berthctl rollback 12 --dry-run
  berthctl rollback 12 --message "the new MTU was too small"`,
		Args: func(cmd *cobra.Command, words []string) error {
			if err := wantArgs(1, 1, "the NUMBER of a change: see \"berthctl get history\"")(cmd, words); err != nil {
				return err
			}
			_, err := changeNumber(words[0])
			return err
		},
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, words []string) error {
			n, err := changeNumber(words[0])
			if err != nil {
				return err
			}
			if message == "" {
				message = fmt.Sprintf("rollback to change %d", n)
			}
			a, err := rollBack(ctx, store, n, dryRun, config.Note{Who: who(), Message: message})
			if err != nil {
				return err
			}
			remark := ""
			if dryRun {
				remark = "nothing is written: this is a dry run"
			}
			return c.tellApplied(a, remark)
		}),
		ValidArgsFunction: c.complete(1, c.history().keys),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the difference and write nothing")
	cmd.Flags().Var((*sentence)(&message), "message", "`words` for the history")
	return cmd
}

func changeNumber(word string) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q: want the NUMBER of a change: see \"berthctl get history\"", word)
	}
	return n, nil
}

// rollBack restores the configuration after change n, or says what that would do.
func rollBack(ctx context.Context, store *lease.Operator, n int64, dryRun bool, note config.Note) (applied, error) {
	base, err := store.Config.Read(ctx)
	if err != nil {
		return applied{}, err
	}
	then, err := store.Editor.At(ctx, n)
	if err != nil {
		return applied{}, err
	}
	restore := func() (*config.Config, []*config.InUseError, error) {
		return store.Editor.Restore(ctx, base, then, note)
	}
	if dryRun {
		restore = func() (*config.Config, []*config.InUseError, error) { return store.Editor.Restorable(ctx, base, then) }
	}
	after, kept, err := restore()
	if err != nil {
		return applied{}, err
	}
	a := applied{Revision: after.Revision, Changed: after.Revision != base.Revision, Changes: config.Diff(base, after)}
	a.Notes = append(switchedOff(base, after), outOfReach(base, a.Changes)...)
	for _, use := range kept {
		a.Notes = append(a.Notes, fmt.Sprintf("pool %s did not exist then and stays: %s", use.Pool, inWords(use)))
	}
	return a, nil
}
