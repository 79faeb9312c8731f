package e2e

import (
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

func TestThreeDELsOfOneContainerTheLastWithoutANamespaceAllSucceed(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := container(t, l.Nodes[0], l)
	add(t, c)
	for range 2 {
		if err := c.Del(t.Context()); err != nil {
			t.Errorf("DEL: %v", err)
		}
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	c.Netns = "" // fifteen seconds later a runtime has forgotten it
	if err := c.Del(t.Context()); err != nil {
		t.Errorf("DEL without a namespace: %v", err)
	}
	restores(t, l, before)
}

func TestADELWithoutAnADDSucceedsAndSparesEverybodyElse(t *testing.T) {
	l := newLab(t, 1, onePool)
	other := container(t, l.Nodes[0], l)
	add(t, other)
	before := census(t, l)
	if err := container(t, l.Nodes[0], l).Del(t.Context()); err != nil {
		t.Errorf("DEL: %v", err)
	}
	restores(t, l, before)
	inPlace(t, other)
}

func TestADELThatOverlapsItsADDWins(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	for round := range 20 {
		c := container(t, l.Nodes[0], l)
		adding := called(c, "ADD", 0, nil)
		starts(t, c, adding)
		if err := runs(c, called(c, "DEL", 5, nil)); err != nil { // it began after the ADD by its clock
			t.Errorf("round %d: %v", round, err)
		}
		_ = adding.Wait() // it may be refused, since the DEL has overtaken it
	}
	restores(t, l, before)
}

func TestALateDELOfAContainersFormerLifeSparesItsPresentOne(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := container(t, l.Nodes[0], l)
	add(t, c)
	if err := c.Del(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, c)
	if err := runs(c, called(c, "DEL", -100, nil)); err != nil { // it began before the second ADD
		t.Errorf("the late DEL: %v", err)
	}
	inPlace(t, c)
	holds(t, l.Nodes[0], 1)
	del(t, c)
	restores(t, l, before)
}

func TestADELThatMeetsNoAgentSucceedsAndIsDoneByTheNextOne(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	c, stays := container(t, node, l), container(t, node, l)
	add(t, c)
	again := container(t, node, l)
	add(t, again)
	add(t, stays)
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	del(t, c)
	if err := again.Del(t.Context()); err != nil {
		t.Errorf("DEL: %v", err)
	}
	if err := again.Del(t.Context()); err != nil {
		t.Errorf("DEL again: %v", err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds(t, node, 1)
	inPlace(t, stays)
	add(t, again) // a new life: the notes are of the former one
	inPlace(t, again)
	del(t, again)
	del(t, stays)
	restores(t, l, before)
}

func TestTwoNetworksOfTwoRuntimesOnOneNodeKeepApart(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	mine := container(t, l.Nodes[0], l)
	add(t, mine)
	theirs := container(t, l.Nodes[0], l)
	theirs.Network = &lab.Network{Name: "theirs", Version: "1.0.0", Plugins: lab.Berth().Plugins}
	theirs.ID, theirs.Interface = mine.ID, mine.Interface // two runtimes may come upon one name
	add(t, theirs)
	if mine.Address == theirs.Address {
		t.Errorf("both have %v", mine.Address)
	}
	if err := theirs.Del(t.Context()); err != nil {
		t.Fatal(err)
	}
	inPlace(t, mine)
	add(t, theirs)
	collect := called(mine, "GC", 120, map[string]any{"cni.dev/valid-attachments": []any{}})
	if err := runs(mine, collect); err != nil {
		t.Fatal(err)
	}
	inPlace(t, theirs)
	holds(t, l.Nodes[0], 1)
	del(t, mine)
	if err := theirs.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	restores(t, l, before)
}
