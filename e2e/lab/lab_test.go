package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if err := Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newLab makes a lab without agents. It goes with the test, and must leave nothing behind.
func newLab(t *testing.T, members, nodes int) *Lab {
	t.Helper()
	return newLabOf(t, Options{Members: members}, nodes)
}

func newLabOf(t *testing.T, options Options, nodes int) *Lab {
	t.Helper()
	l, err := New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.Logs(50))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if links, err := linksIn("/proc/self/ns/net"); err != nil || len(links) != 1 {
			t.Errorf("after Close there are the links %v, error %v: want lo alone", links, err)
		}
	})
	for i := range nodes {
		node := l.node(i + 1)
		l.Nodes = append(l.Nodes, node)
		must(t, node.make())
	}
	return l
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestNodesReachTheSwitchAndEachOther(t *testing.T) {
	l := newLab(t, 1, 2)
	a, b := l.Nodes[0], l.Nodes[1]
	for _, to := range []netip.Addr{netip.MustParseAddr("10.200.0.1"), b.Address} {
		if _, err := a.Ping(to); err != nil {
			t.Error(err)
		}
	}
	must(t, b.Unplug())
	if _, err := pingFrom(a.netns, b.Address, 3*pingEvery); err == nil {
		t.Error("a node without its cable answers")
	}
	must(t, b.Plug())
	if _, err := a.Ping(b.Address); err != nil {
		t.Error(err)
	}
}
