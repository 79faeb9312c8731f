package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no words, but got %q", cmd.CommandPath(), strings.Join(args, " "))
	}
	return nil
}

// wantArgs checks how many words a command got; words says what they are. Max 0 is no bound.
func wantArgs(min, max int, words string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < min:
			return fmt.Errorf("%s wants %s", cmd.CommandPath(), words)
		case max > 0 && len(args) > max:
			return fmt.Errorf("%s wants %s, but got %q too", cmd.CommandPath(), words, strings.Join(args[max:], " "))
		}
		return nil
	}
}

// positive checks how long somebody is to wait.
func positive(flag string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s %s: want a time greater than zero, such as 30s, 5m or 1h", flag, d)
	}
	return nil
}
