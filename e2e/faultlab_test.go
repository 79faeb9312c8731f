package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// nodeRecord is what etcd has on who a node is.
func nodeRecord(t *testing.T, l *lab.Lab, node *lab.Node) (record struct{ Machine, Boot string }) {
	t.Helper()
	key := "/berth/v1/nodes/" + node.Name
	found, err := l.Etcd.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(found[key]), &record); err != nil {
		t.Fatalf("%s is %q: %v", key, found[key], err)
	}
	return record
}

func sessionOf(t *testing.T, l *lab.Lab, node *lab.Node) error {
	t.Helper()
	found, err := l.Etcd.Get(t.Context(), "/berth/v1/sessions/"+node.Name)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s has no session", node.Name)
	}
	return err
}

func TestARebootedNodeHasAnotherBootAndNothingOfTheFormer(t *testing.T) {
	l := makeLab(t, lab.Options{Nodes: 2, Gateways: []netip.Prefix{gateway}, Disk: 64 << 20}, onePool)
	node, other := l.Nodes[0], l.Nodes[1]
	c := container(t, node, l)
	add(t, c)
	for range 2 {
		before := nodeRecord(t, l, node)
		if err := node.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := nodeRecord(t, l, node)
		if after.Machine != before.Machine || after.Boot == before.Boot {
			t.Errorf("the machine was %v and is %v: want the same one with another boot", before, after)
		}
	}
	if _, err := os.Stat(c.Netns); !os.IsNotExist(err) {
		t.Errorf("the container's namespace: %v, want none", err)
	}
	links, err := node.Links()
	if err != nil || len(links) != 2 {
		t.Errorf("the node has the links %v, error %v: want lo and its NIC", links, err)
	}
	if _, err := node.Ping(other.Address); err != nil {
		t.Error(err)
	}
	again, elsewhere := container(t, node, l), container(t, other, l)
	add(t, again)
	add(t, elsewhere)
	reaches(t, again, elsewhere.Address)
}

func TestAPowerCutEndsWhatRunsOnTheNode(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	c := container(t, node, l)
	done := make(chan error)
	go func() {
		_, err := c.Add(context.WithoutCancel(t.Context()))
		done <- err
	}()
	labtest.Eventually(t, "the plugin runs", pluginRuns)
	if err := node.PowerOff(); err != nil {
		t.Fatal(err)
	}
	if pluginRuns() == nil {
		t.Error("the plugin runs on without power")
	}
	if err := <-done; err == nil {
		t.Error("an ADD on a node without power succeeds")
	}
	if _, err := c.Add(t.Context()); err == nil || node.Running() {
		t.Errorf("ADD fails with %v, the agent runs: %v", err, node.Running())
	}
	if err := errors.Join(node.PowerOn(), node.AwaitReady(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func pluginRuns() error {
	processes, err := filepath.Glob("/proc/[0-9]*/comm")
	for _, process := range processes {
		if name, _ := os.ReadFile(process); string(name) == "berth\n" {
			return nil
		}
	}
	return errors.Join(err, errors.New("no process is named berth"))
}

func TestAPausedAgentLosesItsSessionAndComesBack(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	if err := errors.Join(sessionOf(t, l, node), node.Pause(), l.Etcd.Revoke(t.Context(), node.Name)); err != nil {
		t.Fatal(err)
	}
	if err := sessionOf(t, l, node); err == nil {
		t.Error("its session is still there after its lease was revoked")
	}
	if _, _, err := node.HTTP(t.Context(), "/healthz"); err == nil {
		t.Error("a paused agent answers")
	}
	if err := node.Resume(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the node has a session again", func() error { return sessionOf(t, l, node) })
	add(t, container(t, node, l))
}

func TestAFullDiskIsFullUntilItIsFreed(t *testing.T) {
	l := makeLab(t, lab.Options{Nodes: 1, Gateways: []netip.Prefix{gateway}, Disk: 64 << 20}, onePool)
	node := l.Nodes[0]
	probe := filepath.Join(node.RunDir(), "probe")
	if err := node.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(probe, make([]byte, 4096), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write to the full disk: %v, want %v", err, unix.ENOSPC)
	}
	if err := node.Free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(probe, make([]byte, 4096), 0o600); err != nil {
		t.Error(err)
	}
}

func TestANodeOutlivesOneMemberOfEtcd(t *testing.T) {
	l := makeLab(t, lab.Options{Members: 3, Nodes: 1, Gateways: []netip.Prefix{gateway}}, onePool)
	node := l.Nodes[0]
	for _, m := range l.Etcd.Members {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		del(t, memberOnceThere(t, node, l, m.Name))
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// memberOnceThere adds a stateful container, which needs etcd; without its leader etcd takes a moment.
func memberOnceThere(t *testing.T, node *lab.Node, l *lab.Lab, name string) *lab.Container {
	t.Helper()
	c := member(t, node, l, name)
	labtest.Eventually(t, "ADD of a stateful container", func() error {
		_, err := c.Add(t.Context())
		return err
	})
	return c
}

func TestAClockThatIsSetOffIsThatOfAllProgramsOfTheNode(t *testing.T) {
	if err := lab.ClocksCanJump(); err != nil {
		t.Skip(err)
	}
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	node.ClockOffset = time.Hour + time.Second/2
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	offsets, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", node.PID()))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(offsets)), " "), "boottime 3600 500000000") {
		t.Errorf("berthd's clocks are off by %q, error %v: want an hour and a half second", offsets, err)
	}
	add(t, container(t, node, l))
}

func TestAnotherMachineUnderTheSameNameIsRefused(t *testing.T) {
	l := newLab(t, 2, onePool)
	first, clone := l.Nodes[0], l.Nodes[1]
	was := nodeRecord(t, l, first)
	if err := clone.PowerOff(); err != nil {
		t.Fatal(err)
	}
	clone.Machine, clone.Flags = "a-clone", []string{"--node", first.Name}
	if err := clone.PowerOn(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the clone is refused by words", func() error {
		if log := clone.Log(20); !strings.Contains(log, "belongs to machine "+was.Machine) {
			return errors.New(log)
		}
		return nil
	})
	if now := nodeRecord(t, l, first); now != was {
		t.Errorf("the node was %v and is %v", was, now)
	}
	add(t, container(t, first, l))
}

func TestNoMachineKeepsTheNamespaceOfAnothersContainer(t *testing.T) {
	l := makeLab(t, lab.Options{Nodes: 2, Gateways: []netip.Prefix{gateway}, Machines: true}, onePool)
	node, other := l.Nodes[0], l.Nodes[1]
	c := container(t, node, l)
	add(t, c)
	if err := restart(t, other.Stop, other.Start); err != nil { // it sees the namespace from its beginning
		t.Fatal(err)
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	holds(t, node, 0)
}
