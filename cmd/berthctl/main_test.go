package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/kv"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// A lab is a part of the one etcd for one test: its own prefix.
type lab struct {
	*testing.T
	prefix string
	store  *lease.Operator
	peer   *lease.Node // the nodes'
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, prefix: etcdtest.Prefix(t)}
	options := kv.Options{Endpoints: etcdtest.Endpoints(), Prefix: l.prefix}
	var err error
	if l.store, err = lease.OpenOperator(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.store.KV.Close() })
	if l.peer, err = lease.OpenNode(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.peer.KV.Close() })
	return l
}

// An answer is what a command line came to.
type answer struct {
	t        *testing.T
	line     string
	code     int
	out, err string
}

// ctl runs a command line against the lab's etcd.
func (l *lab) ctl(args ...string) answer {
	l.Helper()
	return l.pipe(strings.NewReader(""), args...)
}

// pipe is ctl with a standard input.
func (l *lab) pipe(in io.Reader, args ...string) answer {
	l.Helper()
	return execute(l.T, in, append([]string{"--run-dir", etcdtest.RunDir, "--etcd-prefix", l.prefix}, args...)...)
}

func execute(t *testing.T, in io.Reader, args ...string) answer {
	t.Helper()
	var out, diagnostics bytes.Buffer
	code := run(t.Context(), args, in, &out, &diagnostics)
	return answer{t, "berthctl " + strings.Join(args, " "), code, out.String(), diagnostics.String()}
}

// exits checks the exit code, and that errors and data keep to their streams.
func (a answer) exits(code int) answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("%s\nexit code %d, want %d\nstdout: %s\nstderr: %s", a.line, a.code, code, a.out, a.err)
	}
	if (code == exitDone) != (a.err == "") {
		a.t.Errorf("%s\nexit code %d with stderr: %q", a.line, code, a.err)
	}
	return a
}

// says checks that stdout has each of the words.
func (a answer) says(words ...string) answer {
	a.t.Helper()
	has(a.t, a.line, "stdout", a.out, words)
	return a
}

// complains checks that stderr has each of the words.
func (a answer) complains(words ...string) answer {
	a.t.Helper()
	has(a.t, a.line, "stderr", a.err, words)
	return a
}

func has(t *testing.T, line, stream, text string, words []string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s\n%s does not say %q:\n%s", line, stream, word, text)
		}
	}
}

// into decodes stdout, strictly, as JSON.
func (a answer) into(form any) {
	a.t.Helper()
	decoder := json.NewDecoder(strings.NewReader(a.out))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(form); err != nil {
		a.t.Fatalf("%s\n%v in:\n%s", a.line, err, a.out)
	}
}

// file writes a configuration file.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pools.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const smallest = `
pools:
  - name: default
    cidrs: [10.42.0.0/16]
    stateful: [10.42.0.0/20]
    gateways: [10.42.0.1]
`

// configured is a lab to which the smallest file was applied.
func configured(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.ctl("apply", "-f", file(t, smallest)).exits(exitDone)
	return l
}
