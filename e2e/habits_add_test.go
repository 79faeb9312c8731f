package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
)

func TestAContainerIDAddedAgainAfterItsDELIsANewLife(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := container(t, l.Nodes[0], l)
	for range 5 {
		add(t, c)
		inPlace(t, c)
		if err := c.Del(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	restores(t, l, before)
}

func TestANewContainerOfTheSamePodNeedsNoDELOfTheFormer(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	pod := []string{"IgnoreUnknown", "1", "K8S_POD_NAMESPACE", "shop", "K8S_POD_NAME", "web-1", "K8S_POD_UID", "7"}
	first, second := container(t, l.Nodes[0], l, pod...), container(t, l.Nodes[0], l, pod...)
	add(t, first)
	add(t, second)
	if first.Address == second.Address {
		t.Errorf("both have %v", first.Address)
	}
	inPlace(t, second)
	del(t, first)
	inPlace(t, second)
	del(t, second)
	restores(t, l, before)
}

func TestANewContainerOfAStatefulMemberWaitsForTheFormerAndGetsItsAddress(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	first, second := member(t, l.Nodes[0], l, "db-0"), member(t, l.Nodes[0], l, "db-0")
	had := add(t, first)
	_, err := second.Add(t.Context())
	refused(t, err, 11, first.ID, l.Nodes[0].Name)
	if err := second.Del(t.Context()); err != nil { // what a runtime does after a failed ADD
		t.Error(err)
	}
	inPlace(t, first)
	del(t, first)
	if got := add(t, second); got != had {
		t.Errorf("the new container has %v: want %v", got, had)
	}
	del(t, second)
	emptied(t, l, before)
}

func TestAnADDWhoseCallerHasGoneIsAnsweredAgainOrDeleted(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	for _, again := range []bool{true, false} {
		c := container(t, l.Nodes[0], l)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		reader.Close()
		lost := called(c, "ADD", 0, nil)
		lost.Stdout = writer
		starts(t, c, lost)
		_ = lost.Wait() // its answer has met nobody
		writer.Close()
		if again {
			add(t, c)
			inPlace(t, c)
			holds(t, l.Nodes[0], 1)
		}
		del(t, c)
	}
	restores(t, l, before)
}

// The plugin and the agent's work for it take a few milliseconds; the moments of the kills are close enough to hit
// each step of it.
func TestAPluginKilledAtAnyMomentLeavesNothingAfterItsDEL(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	var hit int
	for i := range 60 {
		c := container(t, l.Nodes[0], l)
		adding := called(c, "ADD", 0, nil)
		starts(t, c, adding)
		<-time.After(time.Duration(i) * 200 * time.Microsecond)
		at, err := killed(adding)
		if err != nil {
			t.Fatal(err)
		}
		if at {
			hit++
		}
		switch i % 3 {
		case 0: // the runtime does as it should
			del(t, c)
		case 1: // it tries again first
			add(t, c)
			inPlace(t, c)
			del(t, c)
		case 2: // it has crashed too: nobody ever calls DEL
			if err := c.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d of 60 plugins were killed at work", hit)
	if hit == 0 {
		t.Error("every plugin had ended before it was killed")
	}
	restores(t, l, before)
}

func TestAPluginOverBerthKilledAtAnyMomentLeavesNoAddressHeld(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node := l.Nodes[0]
	over := map[string]any{"ipam": map[string]any{"type": "berth", "socket": node.Socket()}}
	for i := range 40 {
		c := alone(t, l, ipam())
		adding := called(c, "ADD", 0, over)
		adding.Path = filepath.Join(plugins, "bridge")
		starts(t, c, adding)
		<-time.After(time.Duration(i) * 700 * time.Microsecond)
		if _, err := killed(adding); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			del(t, c)
		} else if err := c.Remove(); err != nil { // nobody ever calls DEL
			t.Fatal(err)
		}
	}
	holds(t, node, 0)
}

func TestADELKilledAtAnyMomentCanBeRepeated(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	for i := range 30 {
		c := container(t, l.Nodes[0], l)
		add(t, c)
		deleting := called(c, "DEL", 0, nil)
		starts(t, c, deleting)
		<-time.After(time.Duration(i) * 200 * time.Microsecond)
		if _, err := killed(deleting); err != nil {
			t.Fatal(err)
		}
		del(t, c)
	}
	restores(t, l, before)
}

func TestThePluginsBinaryIsReplacedWhileInUse(t *testing.T) {
	own := t.TempDir()
	install := func() error { // as an installer should: the name is never without a whole file
		return exec.Command("sh", "-c", `cp "$1/berth" "$2/.next" && mv "$2/.next" "$2/berth"`, "install", binaries, own).Run()
	}
	if err := install(); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	var group errgroup.Group
	var done atomic.Bool
	group.Go(func() error {
		for !done.Load() {
			if err := install(); err != nil {
				return err
			}
		}
		return nil
	})
	for range 30 {
		c := container(t, l.Nodes[0], l)
		for _, verb := range []string{"ADD", "DEL"} {
			command := called(c, verb, 0, nil)
			command.Path = filepath.Join(own, "berth")
			if err := runs(c, command); err != nil {
				t.Fatalf("%s: %v", verb, err)
			}
		}
	}
	done.Store(true)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	restores(t, l, before)
}
