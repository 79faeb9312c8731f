package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

const (
	listen  = 3 * time.Second        // how long it is then listened who is there
	patient = 500 * time.Millisecond // between two looks
)

// conclude waits until all is well, and judges. Before is what the cluster held when it was empty.
func (w *world) conclude(ctx context.Context, before lab.Census) (violations []check.Violation, undecided int) {
	w.repair(ctx)
	current := w.remaining(ctx)
	violations = append(violations, w.agree(ctx, current)...)
	w.addAgain(ctx, current)
	started, absent := w.complete(ctx)
	current, violations = append(current, started...), append(violations, absent...)

	w.mu.Lock()
	w.history.Whole = w.now()
	w.mu.Unlock()
	for until := time.Now().Add(listen); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(patient) {
		for _, i := range current {
			w.watcher.Mind(i.had...)
		}
	}
	w.mu.Lock()
	w.history.End = w.now()
	w.mu.Unlock()

	history := w.soFar(true)
	history.Missed = w.watcher.Missed()
	found, undecided := check.All(history, w.rules)
	violations = append(violations, found...)
	violations = append(violations, w.clear(ctx, before)...)
	if len(violations) == 0 { // what is broken may have lost many, and waiting for each tells nothing new
		violations = append(violations, w.fill(ctx)...)
		violations = append(violations, w.clear(ctx, before)...)
	}
	for _, h := range w.nodes {
		if !h.Running() {
			w.exited(h, false)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history.Missed, w.history.Turns = history.Missed, history.Turns
	return append(violations, ends(w.exits, w.history.Faults)...), undecided
}

// repair sees to it that everything runs.
func (w *world) repair(ctx context.Context) {
	_ = w.lab.Heal()
	_ = w.lab.Etcd.Start(ctx)
	var group sync.WaitGroup
	for _, h := range w.nodes {
		group.Go(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if !h.Running() {
				w.exited(h, false)
			}
			if err := errors.Join(h.Free(), w.raise(ctx, h, func() {})); err != nil {
				w.count("cannot repair " + h.Name + ": " + err.Error())
			}
		})
	}
	group.Wait()
}

// remaining deletes what has been replaced, and gives the containers that are meant to be there.
func (w *world) remaining(ctx context.Context) (current []*instance) {
	wanted := map[*instance]bool{}
	for _, p := range w.places {
		if p.current != nil && !p.current.ending.Load() && !w.dead(p.current) {
			wanted[p.current] = true
			current = append(current, p.current)
		}
	}
	w.mu.Lock()
	var others []*instance
	for i := range w.live {
		if !wanted[i] {
			others = append(others, i)
		}
	}
	w.mu.Unlock()
	w.delAll(ctx, others)
	return current
}

func (w *world) delAll(ctx context.Context, all []*instance) {
	ctx, cancel := context.WithTimeout(ctx, w.settled)
	defer cancel()
	var group sync.WaitGroup
	for _, i := range all {
		group.Go(func() { _ = w.del(ctx, i) })
	}
	group.Wait()
}

// agree waits until etcd, the journals and the kernels hold the containers that are there, and nothing else.
func (w *world) agree(ctx context.Context, current []*instance) []check.Violation {
	var lines []string
	for deadline := time.Now().Add(w.settled); ; time.Sleep(patient) {
		may := check.Isolable(w.soFar(false), w.rules)
		views, blocks, err := w.views(ctx)
		want := view{}
		for _, i := range current {
			want[i.ID] = held(i.host.Name, i.had...)
		}
		if lines = append(differences(want, may, views), strangers(current, may, blocks)...); err != nil {
			lines = append(lines, err.Error())
		}
		for _, i := range current {
			if err := w.ask(ctx, check.Check, i, anyPatience, i.Check); err != nil && !may[i.key] {
				lines = append(lines, fmt.Sprintf("CHECK of %s on %s: %v", i.ID, i.host.Name, err))
			}
			if len(lines) > 0 && time.Now().Before(deadline) {
				break // there will be another look
			}
		}
		if len(lines) == 0 || ctx.Err() != nil {
			return nil
		}
		if time.Now().After(deadline) {
			return []check.Violation{{Rule: check.Agreed, At: w.now(), Evidence: lines,
				What: fmt.Sprintf("%v after the last fault there are still %d disagreements", w.settled, len(lines))}}
		}
	}
}

// addAgain asks for every container once more; what is answered is judged with the rest.
func (w *world) addAgain(ctx context.Context, current []*instance) {
	var group sync.WaitGroup
	for _, i := range current {
		group.Go(func() { _ = w.add(ctx, i) })
	}
	group.Wait()
}

// clear deletes everything and waits until nothing is left of it.
func (w *world) clear(ctx context.Context, before lab.Census) []check.Violation {
	w.mu.Lock()
	all := slices.Collect(maps.Keys(w.live))
	w.mu.Unlock()
	w.delAll(ctx, all)
	for _, h := range w.nodes {
		_ = w.warm(ctx, h) // a node that was rebooted has no bridge yet
	}
	var lines []string
	for deadline := time.Now().Add(w.settled); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(patient) {
		w.releaseAll(ctx)
		after, err := w.lab.Census(ctx)
		if lines = remains(before, after); err != nil {
			lines = append(lines, err.Error())
		}
		if len(lines) == 0 {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return []check.Violation{{Rule: check.Cleared, At: w.now(), Evidence: lines,
		What: fmt.Sprintf("%v after everything was deleted the cluster does not hold what it held when it was empty", w.settled)}}
}

// remains are the lines in which a census differs from that of the empty cluster.
func remains(before, after lab.Census) []string {
	return slices.DeleteFunc(strings.Split(before.Difference(after), "\n"), func(line string) bool { return line == "" })
}

// releaseAll gives up every member's reservation.
func (w *world) releaseAll(ctx context.Context) {
	for i := range w.size.Members {
		_, _ = w.nodes[0].Berthctl(ctx, "release", "--network", "berth", fmt.Sprintf("shop/db/db-%d", i)) // most have none
	}
}

// warm gives a node its bridge, by a container that comes and goes.
func (w *world) warm(ctx context.Context, h *host) error {
	i, err := w.make(h, "")
	if err != nil {
		return err
	}
	return errors.Join(w.add(ctx, i), w.del(ctx, i))
}
