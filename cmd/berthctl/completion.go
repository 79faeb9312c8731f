package main

import (
	"io"

	"github.com/spf13/cobra"

	"fmt"

	"github.com/berth-ipam/berth/internal/nearest"
)

func completion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what teaches a shell to complete berthctl's words",
		Long: `Completion prints a script for bash, zsh, fish or powershell. With it the shell completes commands, flags, and the
names of pools, nodes and members as the cluster has them at that moment.`,
		Example: `  source <(berthctl completion bash)
  berthctl completion zsh > "${fpath[1]}/_berthctl"
  berthctl completion fish > ~/.config/fish/completions/berthctl.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := wantArgs(1, 1, "a SHELL: bash, zsh, fish or powershell")(cmd, args); err != nil {
				return err
			}
			if script(cmd.Root(), args[0]) == nil {
				return fmt.Errorf("unknown shell %q: %s", args[0], nearest.Hint(args[0], shells))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return script(cmd.Root(), args[0])(cmd.OutOrStdout())
		},
	}
}

// script writes a shell's script; nil for a shell that is not known.
func script(root *cobra.Command, shell string) func(io.Writer) error {
	switch shell {
	case "bash":
		return func(w io.Writer) error { return root.GenBashCompletionV2(w, true) }
	case "zsh":
		return root.GenZshCompletion
	case "fish":
		return func(w io.Writer) error { return root.GenFishCompletion(w, true) }
	case "powershell":
		return root.GenPowerShellCompletionWithDesc
	}
	return nil
}
