package flags

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestTheCommandLineWinsOverTheVariableWhichWinsOverTheDefault(t *testing.T) {
	t.Setenv("BERTH_ETCD_ENDPOINTS", "http://a:2379,http://b:2379")
	t.Setenv("BERTH_ETCD_USER", "from-the-environment")
	t.Setenv("BERTH_ETCD_CERT", "")
	t.Setenv("BERTH_HELP", "true")

	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	help := fs.Bool("help", false, "")
	o, runDir := Etcd(fs), RunDir(fs)
	if err := fs.Parse([]string{"--etcd-user", "from-the-command-line"}); err != nil {
		t.Fatal(err)
	}
	if err := Environment(fs); err != nil {
		t.Fatal(err)
	}
	if want := []string{"http://a:2379", "http://b:2379"}; !slices.Equal(o.Endpoints, want) {
		t.Errorf("endpoints are %q, want the variable's %q", o.Endpoints, want)
	}
	if o.User != "from-the-command-line" {
		t.Errorf("user is %q, want the command line's", o.User)
	}
	if o.Prefix != "/berth/v1" || *runDir != "/run/berth" || o.Cert != "" {
		t.Errorf("prefix %q, run directory %q, certificate %q: want the defaults", o.Prefix, *runDir, o.Cert)
	}
	if *help {
		t.Error("BERTH_HELP asked for help: a question has no variable")
	}
}

func TestAVariableOfTheWrongFormIsNamed(t *testing.T) {
	t.Setenv("BERTH_SESSION_LENGTH", "soon")
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.Duration("session-length", time.Second, "")
	err := Environment(fs)
	if err == nil || !strings.Contains(err.Error(), "BERTH_SESSION_LENGTH") || !strings.Contains(err.Error(), "soon") {
		t.Errorf("got %v, want an error that names the variable and its value", err)
	}
}

func TestTheHelpTextNamesTheVariable(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Etcd(fs)
	RunDir(fs)
	Document(fs)
	help := fs.FlagUsages()
	fs.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(help, "[$"+Variable(f.Name)+"]") {
			t.Errorf("the help text of --%s does not name %s", f.Name, Variable(f.Name))
		}
	})
}
