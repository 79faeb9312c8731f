package faults

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// complete starts a container wherever one is meant to be and none is. All is well, so each must start.
func (w *world) complete(ctx context.Context) (started []*instance, violations []check.Violation) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for k, p := range w.places {
		if p.current != nil && !p.current.ending.Load() && !w.dead(p.current) {
			continue
		}
		group.Go(func() {
			i, err := w.insist(ctx, w.nodes[k%len(w.nodes)], p.member)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				violations = append(violations, check.Violation{Rule: check.Usable, At: w.now(), Member: p.member, Evidence: []string{err.Error()},
					What: fmt.Sprintf("all is well, and for %v place %d gets no container", atRest, k)})
				return
			}
			started = append(started, i)
		})
	}
	group.Wait()
	return started, violations
}

// atRest is how long the last address may take: one that answered a probe although nobody was to have it, as on a
// node that was cut off, rests for a minute.
const atRest = 90 * time.Second

// insist makes a container and adds it, again and again until the last address must be there.
func (w *world) insist(ctx context.Context, h *host, member string) (i *instance, err error) {
	if i, err = w.make(h, member); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(atRest); ; time.Sleep(patient) {
		if err = w.add(ctx, i); err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return i, err
		}
	}
}

// fill adds a replica for every address of the empty pool, on all nodes in turn. An address that
// nobody gives any more has leaked, though no record may tell of it.
func (w *world) fill(ctx context.Context) []check.Violation {
	all, words := make([]*instance, w.size.addresses(w.mode)), make([]string, w.size.addresses(w.mode))
	var group sync.WaitGroup
	for k := range all {
		group.Go(func() {
			var err error
			if all[k], err = w.insist(ctx, w.nodes[k%len(w.nodes)], ""); err != nil {
				words[k] = err.Error()
			}
		})
	}
	group.Wait()
	all = slices.DeleteFunc(all, func(i *instance) bool { return i == nil })
	found := unusable(all, words, w.now())
	if parts, err := w.parts(ctx); len(found) > 0 && err == nil {
		found[0].Evidence = append(found[0].Evidence, fmt.Sprintf("the parts of blocks are %v", parts))
	}
	return found
}

// unusable judges a pool that was to be filled, by what each ADD came to.
func unusable(all []*instance, words []string, at time.Duration) (violations []check.Violation) {
	failed := slices.DeleteFunc(slices.Clone(words), func(s string) bool { return s == "" })
	if len(failed) > 0 {
		violations = append(violations, check.Violation{Rule: check.Usable, At: at, Evidence: failed,
			What: fmt.Sprintf("of %d addresses of the empty pool %d cannot be had", len(words), len(failed))})
	}
	has := map[netip.Addr]string{}
	for _, i := range all {
		for _, address := range i.had {
			if other, twice := has[address]; twice {
				violations = append(violations, check.Violation{Rule: check.Unique, At: at, Address: address, Containers: []string{other, i.ID},
					What: fmt.Sprintf("%v was answered to two containers of the full pool", address)})
			}
			has[address] = i.ID
		}
	}
	return violations
}
