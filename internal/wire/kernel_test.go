package wire

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyANetworkNamespaceIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]bool{
		"/proc/self/ns/net": true, "/proc/self/ns/uts": false, "/proc/self/status": false, "/dev/null": false, file: false, "/": false,
	} {
		f, err := os.Open(path)
		check(t, err)
		if err := IsNetns(f); (err == nil) != want {
			t.Errorf("%s: error %v: want a network namespace to be %v", path, err, want)
		}
		f.Close()
	}
}
