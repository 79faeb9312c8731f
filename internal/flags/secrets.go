package flags

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// secrets are the flags that name files which only their owner is to read.
var secrets = []string{"etcd-password-file", "etcd-key", "listen-key", "listen-token-file"}

// Exposed says of each file of a secret that fs names and that every user of this machine can read, what is wrong and what
// repairs it. It is to be called after parsing. A file that cannot be looked at is another's to complain about.
func Exposed(fs *pflag.FlagSet) (warnings []string) {
	for _, name := range secrets {
		f := fs.Lookup(name)
		if f == nil || f.Value.String() == "" || !readableByAll(f.Value.String()) {
			continue
		}
		warnings = append(warnings, fmt.Sprintf("--%s: every user of this machine can read %s: chmod o-rwx %[2]s", name, f.Value))
	}
	return warnings
}

// readableByAll reports whether a user who is neither the file's owner nor in its group can read it: he needs leave to read
// the file, and to search every directory on the way.
func readableByAll(path string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return false
	}
	file, err := os.Stat(path)
	if err != nil || file.Mode().Perm()&0o004 == 0 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		d, err := os.Stat(dir)
		if err != nil || d.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}
