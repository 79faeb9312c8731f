// Package model searches small models of what the cluster agrees on, through every interleaving up to a stated bound:
// rights and takeovers, reservations, splits, and an etcd that was restored. A step that is a function of the code has the
// function's name.
//
// A model says what can happen next, never what does: an agent may be paused or killed, and a message lost or late,
// between any two steps. Each model can be broken in the ways in which the code could be; a test shows that each
// breach is found, so that a search which finds nothing means something.
package model

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// A Step is what happens between two states: by a node, or to all if Node is negative.
type Step struct {
	Name string
	Node int8
}

func (s Step) String() string {
	if s.Node < 0 {
		return s.Name
	}
	return fmt.Sprintf("%c: %s", 'A'+s.Node, s.Name)
}

// A Model is a set of states and the steps between them. States are compared with ==.
type Model[S comparable] interface {
	Begin() S
	Steps(s S, do func(Step, S)) // every step that is possible in s; one that changes nothing may be among them
	Wrong(s S) string            // which promise s breaks; empty: none
}

// A Report is what a search has found.
type Report struct {
	States   int    // how many were seen
	Depth    int    // how many steps the last one is away from the beginning
	Complete bool   // there are no more
	Wrong    string // the promise that was broken, if one was
	Steps    []Step // the shortest way there
}

func (r Report) String() string {
	extent := "all there are"
	if !r.Complete {
		extent = "not all"
	}
	if r.Wrong == "" {
		return fmt.Sprintf("%d states, up to %d steps deep, %s: nothing wrong", r.States, r.Depth, extent)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "after %d states: %s, by %d steps:", r.States, r.Wrong, len(r.Steps))
	for i, s := range r.Steps {
		fmt.Fprintf(&b, "\n%4d  %s", i+1, s)
	}
	return b.String()
}

// Search goes through a model breadth first until it finds a state that is wrong, has seen all, or has seen most.
func Search[S comparable](m Model[S], most int) Report {
	seen := newTable[S]()
	seen.add(m.Begin(), -1)
	depth, end := 0, 1 // the states of the present depth end there
	for i := 0; i < len(seen.states); i++ {
		if i == end {
			depth, end = depth+1, len(seen.states)
		}
		if wrong := m.Wrong(seen.states[i]); wrong != "" {
			return Report{States: len(seen.states), Depth: depth, Wrong: wrong, Steps: seen.way(m, i)}
		}
		if len(seen.states) >= most {
			return Report{States: len(seen.states), Depth: depth}
		}
		m.Steps(seen.states[i], func(_ Step, next S) { seen.add(next, int32(i)) })
	}
	return Report{States: len(seen.states), Depth: depth, Complete: true}
}

// A table has every state once, and from which other it was reached first.
type table[S comparable] struct {
	states []S
	from   []int32
	slots  []int32 // by hash, with the next ones where it collides: an index into states plus one
	seed   maphash.Seed
}

func newTable[S comparable]() *table[S] {
	return &table[S]{slots: make([]int32, 1<<10), seed: maphash.MakeSeed()}
}

func (t *table[S]) add(s S, from int32) {
	slot := t.find(s)
	if t.slots[slot] != 0 {
		return
	}
	t.states, t.from = append(t.states, s), append(t.from, from)
	t.slots[slot] = int32(len(t.states))
	if len(t.states)*2 > len(t.slots) {
		t.grow()
	}
}

// find is where a state is, or belongs.
func (t *table[S]) find(s S) uint64 {
	mask := uint64(len(t.slots) - 1)
	for slot := maphash.Comparable(t.seed, s) & mask; ; slot = (slot + 1) & mask {
		if i := t.slots[slot]; i == 0 || t.states[i-1] == s {
			return slot
		}
	}
}

func (t *table[S]) grow() {
	t.slots = make([]int32, 2*len(t.slots))
	for i, s := range t.states {
		t.slots[t.find(s)] = int32(i + 1)
	}
}

// way is how the ith state was reached. The steps are not kept: each is found again between its two states.
func (t *table[S]) way(m Model[S], i int) []Step {
	if t.from[i] < 0 {
		return nil
	}
	before := t.way(m, int(t.from[i]))
	var taken *Step
	m.Steps(t.states[t.from[i]], func(s Step, next S) {
		if taken == nil && next == t.states[i] {
			taken = &s
		}
	})
	return append(before, *taken)
}
