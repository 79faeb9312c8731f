package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// The CNI project's sbr moves the routes of a container into a table of their own. Berth does not put them back beside those.
func TestARollOutThatSourceBasedRoutingKeepsFromAContainerSaysWhyAndChangesNothing(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	c, other := alone(t, l, chained(map[string]any{"type": "sbr"})), alone(t, l, lab.Plain())
	add(t, c)
	add(t, other)
	reaches(t, other, c.Address)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	before, err := mtuOf(c)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := labtest.Apply(t, l, withMTU(1400)); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the other has the new MTU", func() error {
		if mtu, err := mtuOf(other); err != nil || mtu != 1400 {
			return fmt.Errorf("it is %d, error %w", mtu, err)
		}
		return nil
	})
	out, err := l.Nodes[0].Berthctl(t.Context(), "version", "--wait", "--timeout", "2s")
	said := out + fmt.Sprint(err)
	if exit, ok := errors.AsType[*lab.ExitError](err); !ok || exit.Code != 3 || !strings.Contains(said, c.ID) ||
		!strings.Contains(said, "moved to another table") || strings.Contains(said, other.ID) {
		t.Errorf("want exit code 3 and only %s, with the reason:\n%s", c.ID, said)
	}
	if mtu, err := mtuOf(c); err != nil || mtu != before {
		t.Errorf("half of it was done: it has MTU %d, error %v; it had %d", mtu, err, before)
	}
	reaches(t, other, c.Address)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("CHECK after the roll-out: %v", err)
	}
	del(t, c)
	del(t, other)
	holds(t, l.Nodes[0], 0)
}
