package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestAFileOfASecretThatAllCanReadIsWarnedOf(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "secrets") // which everybody can search
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	password, key := filepath.Join(dir, "password"), filepath.Join(dir, "key")
	for _, c := range []struct {
		dir, password, key os.FileMode
		want               string
	}{
		{0o755, 0o600, 0o640, ""},
		{0o755, 0o644, 0o600, "--etcd-password-file"},
		{0o755, 0o604, 0o644, "--etcd-password-file --etcd-key"},
		{0o700, 0o644, 0o644, ""},
	} {
		for path, mode := range map[string]os.FileMode{password: c.password, key: c.key, dir: c.dir} {
			if path != dir {
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		Etcd(fs)
		if err := fs.Parse([]string{"--etcd-password-file", password, "--etcd-key", key}); err != nil {
			t.Fatal(err)
		}
		got := Exposed(fs)
		var names []string
		for _, warning := range got {
			name, rest, _ := strings.Cut(warning, ":")
			names = append(names, name)
			if !strings.Contains(rest, "chmod o-rwx "+dir) {
				t.Errorf("%q does not say what repairs it", warning)
			}
		}
		if strings.Join(names, " ") != c.want {
			t.Errorf("directory %o, password %o, key %o: warnings %q, want of %q", c.dir, c.password, c.key, got, c.want)
		}
	}
}
