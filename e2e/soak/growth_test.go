package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestEachKindOfGrowthIsFound(t *testing.T) {
	before := &sample{
		nodes: []usage{{rss: 50000, goroutines: 40, descriptors: 20}, {rss: 60000, goroutines: 41, descriptors: 21}},
		keys:  map[string]int{"nodes": 2, "blocks": 4},
	}
	if err := before.growth(before.changed(func(s *sample) { s.nodes[0].goroutines++; s.nodes[1].rss += 1000 })); err != nil {
		t.Errorf("within the bounds there is growth: %v", err)
	}
	for want, change := range map[string]func(*sample){
		"n1 had 40 goroutines":         func(s *sample) { s.nodes[0].goroutines += 6 },
		"n2 had 21 descriptors":        func(s *sample) { s.nodes[1].descriptors++ },
		"n1 had a journal of 0":        func(s *sample) { s.nodes[0].journal += 9 << 20 },
		"n2 had 0 netlink sockets":     func(s *sample) { s.nodes[1].netlink += 17 },
		"n2 had 60000 KiB":             func(s *sample) { s.nodes[1].rss += 20000 },
		"blocks were 4 and are 5":      func(s *sample) { s.keys["blocks"]++ },
		"assignments were 0 and are 1": func(s *sample) { s.keys["assignments"]++ },
		"nodes were 2 and are 0":       func(s *sample) { delete(s.keys, "nodes") },
	} {
		if err := before.growth(before.changed(change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v: want an error that says %q", err, want)
		}
	}
}

func (s *sample) changed(f func(*sample)) *sample {
	changed := &sample{nodes: slices.Clone(s.nodes), keys: maps.Clone(s.keys)}
	f(changed)
	return changed
}

func TestThereIsNoRestWhileAnythingOfAContainerIsLeft(t *testing.T) {
	if err := (&sample{left: []string{"n1 has port stateless/bth0123"}}).busy(); err == nil ||
		!strings.Contains(err.Error(), "stateless/bth0123") {
		t.Errorf("a port is left, and it says %v", err)
	}
	if err := (&sample{}).busy(); err != nil {
		t.Errorf("nothing is left, and it says %v", err)
	}
}
