package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What an agent may have more of at the end than at the beginning. Keys, and all other descriptors, must be equal.
const (
	moreNetlink    = 16        // sockets: as many are kept for the next requests
	moreGoroutines = 5         // calls that are under way at that moment
	moreMemory     = 16 * 1024 // KiB: what Go's collector keeps varies; a leak of 350 bytes a request is seen within an hour
	moreJournal    = 8 << 20   // bytes: it remembers what was released in the last ten minutes
)

// growth is an error that names everything of which there is more after than there was before, or other keys.
func (before *sample) growth(after *sample) error {
	var errs []error
	grew := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, b := range before.nodes {
		a := after.nodes[i]
		if a.netlink > b.netlink+moreNetlink {
			grew("n%d had %d netlink sockets and has %d: want at most %d more", i+1, b.netlink, a.netlink, moreNetlink)
		}
		if a.goroutines > b.goroutines+moreGoroutines {
			grew("n%d had %d goroutines and has %d: want at most %d more", i+1, b.goroutines, a.goroutines, moreGoroutines)
		}
		if a.rss > b.rss+moreMemory {
			grew("n%d had %d KiB of memory and has %d: want at most %d more", i+1, b.rss, a.rss, moreMemory)
		}
		if a.journal > b.journal+moreJournal {
			grew("n%d had a journal of %d bytes and has one of %d: want at most %d more", i+1, b.journal, a.journal, moreJournal)
		}
	}
	return errors.Join(append(errs, after.change(before))...)
}

// difference names the kinds of keys of which there is another number in the other sample; empty: there is none.
func (before *sample) difference(after *sample) string {
	kinds := maps.Clone(before.keys)
	maps.Copy(kinds, after.keys)
	var text []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if b, a := before.keys[kind], after.keys[kind]; a != b {
			text = append(text, fmt.Sprintf("%s were %d and are %d", kind, b, a))
		}
	}
	return strings.Join(text, ", ")
}
