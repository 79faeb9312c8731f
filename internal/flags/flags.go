// Package flags holds the command-line flags that berthd and berthctl share, and the rule that a flag can also be
// given as a variable of the environment: --etcd-endpoints as BERTH_ETCD_ENDPOINTS. The command line wins over the
// environment, which wins over the default.
package flags

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/berth-ipam/berth/lease/kv"
)

// Etcd adds the flags that say how etcd is reached. Parsing fills the options; without endpoints they stay empty,
// and what that means is the program's to say.
func Etcd(fs *pflag.FlagSet) *kv.Options {
	o := new(kv.Options)
	fs.StringSliceVar(&o.Endpoints, "etcd-endpoints", nil, "etcd's client `URLs`, separated by commas")
	fs.StringVar(&o.CACert, "etcd-cacert", "", "`file` of the authorities that etcd's certificate is checked against")
	fs.StringVar(&o.Cert, "etcd-cert", "", "`file` of the client certificate shown to etcd")
	fs.StringVar(&o.Key, "etcd-key", "", "`file` of the client certificate's key")
	fs.StringVar(&o.User, "etcd-user", "", "etcd `user` name")
	fs.StringVar(&o.PasswordFile, "etcd-password-file", "", "`file` whose content is the etcd user's password")
	fs.StringVar(&o.Prefix, "etcd-prefix", kv.DefaultPrefix, "`prefix` of Berth's keys in etcd")
	return o
}

// RunDir adds the flag for the directory in which the agent's sockets lie.
func RunDir(fs *pflag.FlagSet) *string {
	return fs.String("run-dir", "/run/berth", "`directory` of the agent's sockets")
}

// EtcdSocket is where the agent's embedded etcd listens: the endpoint of who is given no other.
func EtcdSocket(runDir string) string { return filepath.Join(runDir, "etcd.sock") }

// Variable is the name of the variable that stands in for a flag.
func Variable(flag string) string {
	return "BERTH_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Document adds to the help text of each flag of fs the name of its variable.
func Document(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if hasVariable(f) {
			f.Usage += " [$" + Variable(f.Name) + "]"
		}
	})
}

// Environment gives each flag of fs that the command line left out the value of its variable. It is to be called
// after parsing. An empty variable counts as an absent one. The error names the first variable that does not fit.
func Environment(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		value := os.Getenv(Variable(f.Name))
		if err != nil || value == "" || f.Changed || !hasVariable(f) {
			return
		}
		if bad := fs.Set(f.Name, value); bad != nil {
			err = fmt.Errorf("variable %s: %w", Variable(f.Name), bad)
		}
	})
	return err
}

// hasVariable leaves out the two flags that ask a question instead of setting something.
func hasVariable(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" }
