package lab

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/berth-ipam/berth/internal/sandbox"
)

func TestMain(m *testing.M) {
	if err := Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestNodesReachTheSwitchAndEachOther(t *testing.T) {
	l := &Lab{}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if links, err := linksIn("/proc/self/ns/net"); err != nil || len(links) != 1 {
			t.Errorf("after Close there are the links %v, error %v: want lo alone", links, err)
		}
	})
	if err := makeSwitch(nil); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		node := l.node(i + 1)
		l.Nodes = append(l.Nodes, node)
		if err := sandbox.Namespace(node.netns); err != nil {
			t.Fatal(err)
		}
		if err := plugIn(node); err != nil {
			t.Fatal(err)
		}
	}
	a, b := l.Nodes[0], l.Nodes[1]
	for _, to := range []netip.Addr{netip.MustParseAddr("10.200.0.1"), b.Address} {
		if _, err := a.Ping(to); err != nil {
			t.Error(err)
		}
	}
	if err := b.Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := pingFrom(a.netns, b.Address, 3*pingEvery); err == nil {
		t.Error("a node without its cable answers")
	}
	if err := b.Plug(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(b.Address); err != nil {
		t.Error(err)
	}
}

func TestEtcdKeepsItsDataOverAKill(t *testing.T) {
	l := &Lab{Etcd: &Etcd{options: etcdOptions{Dir: root + "/etcd", Listen: "http://127.0.0.1:2379"}}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.Logs(50))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.MkdirAll(root+"/logs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.Etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Etcd.client.Put(t.Context(), "a", "1"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{l.Etcd.Halt, l.Etcd.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := l.Etcd.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found, err := l.Etcd.Get(t.Context(), "a"); err != nil || found["a"] != "1" {
			t.Errorf("found %v, error %v: want 1", found, err)
		}
	}
}
