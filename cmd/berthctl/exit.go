package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// What berthctl exits with. Scripts build on it.
const (
	exitDone       = 0
	exitError      = 1
	exitUsage      = 2
	exitIncomplete = 3 // the roll-out of the configuration is not complete, or the doctor has left something
	exitConflict   = 4 // someone else changed the configuration first
)

// A usageError is a command line that cannot be carried out as it stands.
type usageError struct{ error }

// An incompleteError says what a configuration still waits for.
type incompleteError struct{ error }

// What a library's error says of where it comes from is nothing to people.
var origin = regexp.MustCompile(`(^|: )(?:lease|client): `)

func inWords(err error) string { return origin.ReplaceAllString(err.Error(), "$1") }

// exit tells people the error, and scripts the code that stands for it.
func (c *ctl) exit(diagnostics io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	if conflict, ok := errors.AsType[*config.ConflictError](err); ok {
		fmt.Fprintf(diagnostics, "berthctl: %s\n", c.tellWinner(conflict.Winner))
		return exitConflict
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(diagnostics, "berthctl: interrupted: %s has not ended, and what it had asked for may have been done: look before "+
			"you run it again\n", cmd.CommandPath())
		return exitError
	}
	fmt.Fprintf(diagnostics, "berthctl: %s\n", inWords(err))
	if _, ok := errors.AsType[incompleteError](err); ok || left(err) {
		return exitIncomplete
	}
	if _, ok := errors.AsType[usageError](err); ok || !c.began {
		fmt.Fprintf(diagnostics, "See %q.\n", cmd.CommandPath()+" --help")
		return exitUsage
	}
	return exitError
}

// tellWinner says who changed the configuration between the reading and the writing of this command.
func (c *ctl) tellWinner(w record.HistoryEntry) string {
	words := fmt.Sprintf("nothing was changed: %s changed the configuration %s ago, to revision %d", w.Who, age(c.now(), w.When), w.Revision)
	if w.Message != "" {
		words += fmt.Sprintf(" (%q)", w.Message)
	}
	return words + `; see "berthctl get history", then run this again`
}
