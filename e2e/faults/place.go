package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// A place is where at most one container at a time is meant to be: a member, or a replica. What happens to it happens
// in order.
type place struct {
	w       *world
	member  string // empty: a replica
	current *instance
	queue   chan Action
}

const (
	stale = 6 * time.Second // an action that has waited so long is skipped
	tries = 3               // how often a runtime starts a container anew
)

func (w *world) newPlaces() (all []*place) {
	for i := range w.size.places() {
		p := &place{w: w, queue: make(chan Action, 64)}
		if i < w.size.Members {
			p.member = fmt.Sprintf("db-%d", i)
		}
		all = append(all, p)
	}
	return all
}

// run does what comes until the queue is closed.
func (p *place) run(ctx context.Context) {
	for action := range p.queue {
		if ctx.Err() != nil || p.w.now() > action.At+stale {
			p.w.count(string(action.Do) + " came too late")
			continue
		}
		if p.do(ctx, action) {
			p.w.count(string(action.Do))
		} else {
			p.w.count(string(action.Do) + " had nothing to do")
		}
	}
}

// do reports whether there was something to do.
func (p *place) do(ctx context.Context, action Action) bool {
	h := p.w.nodes[action.Node]
	if p.current != nil && p.w.dead(p.current) {
		p.w.forget(p.current)
		p.current = nil
	}
	switch action.Do {
	case Start:
		if p.current != nil {
			return false
		}
		p.start(ctx, h)
		return true
	case Seize:
		if p.current == nil || p.current.host == h || p.member == "" {
			return false
		}
		p.seize(ctx, h)
		return true
	}
	if p.current == nil {
		return false
	}
	switch action.Do {
	case Stop:
		p.stop(ctx)
	case Move:
		if p.stop(ctx) {
			p.start(ctx, h)
		}
	case Again:
		_ = p.w.add(ctx, p.current)
	case Look:
		_ = p.w.ask(ctx, check.Check, p.current, anyPatience, p.current.Check)
	}
	return true
}

// start adds a container. One that could not be added is deleted, and another one with a new ID is tried.
func (p *place) start(ctx context.Context, h *host) {
	for range tries {
		i, err := p.w.make(h, p.member)
		if err != nil {
			p.w.count("no namespace")
			return
		}
		if p.w.add(ctx, i) == nil {
			p.current = i
			return
		}
		if p.w.del(ctx, i) != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// stop reports whether nothing is left.
func (p *place) stop(ctx context.Context) bool {
	if p.w.del(ctx, p.current) != nil {
		return false
	}
	p.current = nil
	return true
}

// seize adds the member elsewhere, as an orchestrator does that believes the node to be gone. The former container is
// deleted when its node can do so.
func (p *place) seize(ctx context.Context, h *host) {
	i, err := p.w.make(h, p.member)
	if err != nil {
		p.w.count("no namespace")
		return
	}
	if p.w.add(ctx, i) != nil {
		_ = p.w.del(ctx, i)
		return
	}
	former := p.current
	p.current = i
	p.w.ghosts.Go(func() { _ = p.w.del(ctx, former) })
}
