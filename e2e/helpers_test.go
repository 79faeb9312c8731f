package e2e

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const onePool = `pools:
  - name: default
    cidrs: [10.42.0.0/16]
    stateful: [10.42.0.0/20]
    gateways: [10.42.0.1]
`

var gateway = netip.MustParsePrefix("10.42.0.1/16")

// newLab makes a lab with a configuration that each node has. It goes with the test; its logs are shown when the test
// fails, and a race that berthd has found fails the test.
func newLab(t *testing.T, nodes int, configuration string) *lab.Lab {
	t.Helper()
	return makeLab(t, lab.Options{Nodes: nodes, Gateways: []netip.Prefix{gateway}}, configuration)
}

func makeLab(t *testing.T, options lab.Options, configuration string) *lab.Lab {
	t.Helper()
	options.Binaries = binaries
	return labtest.New(t, options, configuration)
}

// container makes a container and its namespace, which go with the test.
func container(t *testing.T, node *lab.Node, l *lab.Lab, args ...string) *lab.Container {
	t.Helper()
	c, err := node.Container(l.NextID(), lab.Berth(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Remove() })
	return c
}

// member is a container of the stateful app shop/db.
func member(t *testing.T, node *lab.Node, l *lab.Lab, name string) *lab.Container {
	t.Helper()
	return container(t, node, l, "BERTH_CLASS", "stateful", "BERTH_NAMESPACE", "shop", "BERTH_APP", "db", "BERTH_MEMBER", name)
}

func add(t *testing.T, c *lab.Container) netip.Addr {
	t.Helper()
	if _, err := c.Add(t.Context()); err != nil {
		t.Fatalf("ADD of %s on %s: %v", c.ID, c.Node.Name, err)
	}
	return c.Address
}

func del(t *testing.T, c *lab.Container) {
	t.Helper()
	if err := c.Delete(t.Context()); err != nil {
		t.Fatalf("DEL of %s on %s: %v", c.ID, c.Node.Name, err)
	}
}

func reaches(t *testing.T, from *lab.Container, to netip.Addr) {
	t.Helper()
	if _, err := from.Ping(to); err != nil {
		t.Error(err)
	}
}

func census(t *testing.T, l *lab.Lab) lab.Census {
	t.Helper()
	counted, err := l.Census(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return counted
}

// restores waits until the lab holds what it held before: what is published or cleaned up after an answer takes a
// moment.
func restores(t *testing.T, l *lab.Lab, before lab.Census) {
	t.Helper()
	labtest.Eventually(t, "the lab holds what it held before", func() error {
		after, err := l.Census(t.Context())
		if difference := before.Difference(after); err == nil && difference != "" {
			err = errors.New("before and after differ:\n" + difference)
		}
		return err
	})
}

// anyCode is for errors of which no document says the code.
const anyCode = 0

// refused fails the test unless err is a CNI error of the code that says all the words.
func refused(t *testing.T, err error, code uint, words ...string) {
	t.Helper()
	failure, ok := errors.AsType[*types.Error](err)
	if !ok {
		t.Errorf("got %v: want a CNI error with code %d", err, code)
		return
	}
	if code != anyCode && failure.Code != code {
		t.Errorf("got code %d (%v): want %d", failure.Code, failure, code)
	}
	says(t, failure.Msg+" "+failure.Details, words...)
}

// cniError reads the error that a plugin has printed.
func cniError(t *testing.T, output string) types.Error {
	t.Helper()
	var failure types.Error
	if err := json.Unmarshal([]byte(output), &failure); err != nil {
		t.Fatalf("%q is not a CNI error: %v", output, err)
	}
	return failure
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
}
