package faults

import (
	"context"
	"errors"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// scratch is a directory of the sandbox for the harness itself.
const scratch = "/run/faults"

// without ends a node's agent, does something, and starts the agent again, as a machine's init does, until it is ready.
func (w *world) without(ctx context.Context, reason Kind, h *host, end, do func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.Running() {
		w.exited(h, false)
	}
	back := w.away(reason, h)
	err := errors.Join(end(), do())
	return errors.Join(err, w.raise(ctx, h, back))
}

// raise starts the agent of a node until it is ready; back is called once it runs. An agent that ends by itself is
// started again.
func (w *world) raise(ctx context.Context, h *host, back func()) error {
	defer func() { back() }()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var err error
		if !h.Running() {
			err = h.Launch()
		}
		if err == nil {
			back()
			err = h.AwaitReady(ctx)
		}
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		if !h.Running() {
			w.exited(h, true)
			back()
			back = w.away(ownEnd, h)
		}
		time.Sleep(time.Second)
	}
}

// ownEnd is the reason of an absence that nobody brought about.
const ownEnd Kind = "its own end"

// supervise starts every agent that has ended by itself, until ctx ends.
func (w *world) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		for _, h := range w.nodes {
			if !h.Running() && h.mu.TryLock() {
				if !h.Running() {
					w.exited(h, false)
					_ = w.raise(ctx, h, w.away(ownEnd, h))
				}
				h.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// etcdServes waits until etcd answers with what its members have agreed on.
func (w *world) etcdServes(ctx context.Context) error {
	return lab.Eventually(ctx, "etcd serves", func() error {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := w.lab.Etcd.ID(once)
		return err
	})
}
