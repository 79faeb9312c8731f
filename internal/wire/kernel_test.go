package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
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

func TestBoottimeIsTheMachinesUptime(t *testing.T) {
	const grain = 10 * time.Millisecond // of proc_uptime(5)
	uptime := func() time.Duration {
		text, err := os.ReadFile("/proc/uptime")
		check(t, err)
		var seconds float64
		_, err = fmt.Sscan(string(text), &seconds)
		check(t, err)
		return time.Duration(seconds * float64(time.Second))
	}
	before, now, after := uptime(), Boottime(), uptime()
	if now < before-grain || now > after+2*grain {
		t.Errorf("boottime %v is not between uptimes %v and %v", now, before, after)
	}
}
