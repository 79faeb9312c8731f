package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// TestASecondAgentIsRefusedAndToldOfTheFirst starts one that would share the first one's name, ports, journal or data.
func TestASecondAgentIsRefusedAndToldOfTheFirst(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	first := l.Nodes[0]
	const elsewhere = "/run/netns/elsewhere"
	if err := sandbox.Namespace(elsewhere); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Remove(elsewhere) })
	for what, c := range map[string]struct{ netns, node, run, data, want string }{
		"the same name, in the same network namespace": {first.Netns(), first.Name, t.TempDir(), t.TempDir(),
			"a network namespace has one agent"},
		"another name, in the same network namespace": {first.Netns(), "n2", t.TempDir(), t.TempDir(), "a network namespace has one agent"},
		"the same run directory":                      {elsewhere, first.Name, first.RunDir(), t.TempDir(), "another --run-dir"},
		"the same data directory":                     {elsewhere, "n2", t.TempDir(), first.DataDir(), "another --data-dir"},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			err := inside(ctx, c.netns, binaries+"/berthd", "--node", c.node, "--run-dir", c.run, "--data-dir", c.data, "--listen=")
			if err == nil || ctx.Err() != nil {
				t.Fatalf("it was not refused at once: %v", err)
			}
			for _, want := range []string{c.want, "the agent of node " + first.Name, fmt.Sprint("process ", first.PID()), first.RunDir()} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the refusal does not say %q: %v", want, err)
				}
			}
		})
	}
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatalf("after a crash of the first: %v", err)
	}
}
