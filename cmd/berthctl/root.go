package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-ipam/berth/internal/flags"
	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/lease/kv"
)

// A ctl is one invocation: what its flags say, and where it reads and writes.
type ctl struct {
	etcd   *kv.Options
	runDir *string
	output choice
	in     io.Reader
	out    io.Writer
	now    func() time.Time

	diagnostics io.Writer

	began bool // the command line was understood

	examines bool            // the command tells of damaged records itself
	damaged  map[string]bool // keys of records that were warned of
}

// run executes one command line and returns the exit code. Data go to out, everything else to diagnostics.
func run(ctx context.Context, args []string, in io.Reader, out, diagnostics io.Writer) int {
	c := &ctl{in: in, out: out, diagnostics: diagnostics, now: time.Now}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(diagnostics)
	cmd, err := root.ExecuteContextC(ctx)
	return c.exit(diagnostics, cmd, err)
}

func (c *ctl) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "berthctl",
		Short: "Configure a cluster of Berth, and see who has which address",
		Long: `Berthctl configures a cluster of Berth, and shows who has which address, where and since when.

It talks to etcd: to the one that berthd embeds on this machine, unless --etcd-endpoints says otherwise. Insert and
delete talk to this machine's berthd.

Exit codes: 0 done, 1 error, 2 wrong usage, 3 not complete yet or something is left, 4 someone else was first.`,
		Example: `  berthctl apply -f pools.yaml --dry-run
  berthctl get pools
  berthctl show 10.42.0.17
  berthctl --etcd-endpoints http://10.0.0.1:2379 status`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: c.begin,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(explainFlag)
	root.SetHelpCommand(help())
	c.flags(root.PersistentFlags())
	root.AddCommand(
		c.apply(), c.remove(), c.get(), c.show(), c.version(), c.status(), c.reserve(), c.release(),
		c.insert(), c.delete(), c.rollback(), c.node(), c.doctor(), c.connectivity(), completion(),
	)
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(c.output.valid, cobra.ShellCompDirectiveNoFileComp))
	group(root)
	return root
}

// flags adds those that every command has.
func (c *ctl) flags(fs *pflag.FlagSet) {
	c.etcd = flags.Etcd(fs)
	c.runDir = flags.RunDir(fs)
	c.output = choice{value: "table", valid: []string{"table", "json", "yaml"}}
	fs.VarP(&c.output, "output", "o", "`form` of the answer: table, json or yaml")
	fs.Lookup("etcd-endpoints").Usage += " (default: unix://RUN-DIR/etcd.sock)"
	flags.Document(fs)
}

// begin is run before the command. What fails up to its end is a command line that is not understood.
func (c *ctl) begin(cmd *cobra.Command, _ []string) error {
	err := errors.Join(cmd.ValidateRequiredFlags(), flags.Environment(cmd.Root().PersistentFlags()))
	if c.began = err == nil; c.began {
		for _, warning := range flags.Exposed(cmd.Root().PersistentFlags()) {
			fmt.Fprintln(c.diagnostics, "berthctl: warning:", warning)
		}
	}
	return err
}

// group makes of cmd one that does nothing itself but has commands below it, of which it wants one.
func group(cmd *cobra.Command) {
	var words []string
	for _, sub := range cmd.Commands() {
		words = append(words, sub.Name())
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown word %q after %q: %s", args[0], cmd.CommandPath(), nearest.Hint(args[0], words))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !cmd.HasParent() {
			return cmd.Help()
		}
		return usageError{fmt.Errorf("what to %s? %s", cmd.Name(), nearest.Hint("", words))}
	}
}

// explainFlag adds to the error about an unknown flag what was meant.
func explainFlag(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		if meant, ok := nearest.Word(unknown.GetSpecifiedName(), known); ok {
			return fmt.Errorf("%w: did you mean --%s?", err, meant)
		}
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if want, ok := wanted[invalid.GetFlag().Value.Type()]; ok {
			return fmt.Errorf("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return err
}

// wanted is what would be right for the types whose errors are Go's words.
var wanted = map[string]string{
	"duration": "a time with its unit, such as 30s, 5m or 1h",
	"bool":     "true or false",
	"int":      "a whole number",
}

// help is cobra's, but for a word that it does not know, which is an error.
func help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print the help of a command",
		RunE: func(cmd *cobra.Command, words []string) error {
			found, rest, err := cmd.Root().Find(words)
			if err == nil && len(rest) > 0 && found.HasSubCommands() {
				err = found.ValidateArgs(rest)
			}
			if err != nil {
				return usageError{err}
			}
			return found.Help()
		},
	}
}

// A sentence is the value of a flag that takes words of a person, in one line.
type sentence string

// longestSentence is in bytes. The words go into etcd, and into a cell of a table.
const longestSentence = 1024

func (s *sentence) String() string { return string(*s) }
func (s *sentence) Type() string   { return "words" }

func (s *sentence) Set(words string) error {
	switch {
	case len(words) > longestSentence:
		return fmt.Errorf("it has %d bytes: at most %d are allowed", len(words), longestSentence)
	case !utf8.ValidString(words) || strings.IndexFunc(words, hidden) >= 0:
		return errors.New("want one line of UTF-8 text without control characters")
	}
	*s = sentence(words)
	return nil
}

// A choice is the value of a flag that takes one of a few words.
type choice struct {
	value string
	valid []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "form" }

func (c *choice) Set(word string) error {
	for _, v := range c.valid {
		if word == v {
			c.value = word
			return nil
		}
	}
	return errors.New(nearest.Hint(word, c.valid))
}
