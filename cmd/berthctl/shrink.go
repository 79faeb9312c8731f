package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/internal/manifest"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
)

// A draft is a change that apply is about to make.
type draft struct {
	base, next *config.Config
	steps      int
}

// unusedEvery is how often apply looks whether somebody still uses a CIDR that it is to remove.
const unusedEvery = time.Second

// awaitUnused waits while the reason why a draft cannot be made is that somebody uses a draining CIDR which it removes. Each look begins
// with the configuration as it is then.
func (c *ctl) awaitUnused(ctx context.Context, store *lease.Operator, m *manifest.Manifest, timeout time.Duration, d draft,
	reason error) (base, next *config.Config, steps int, err error) {
	bar, end := c.progress(), time.Now().Add(timeout)
	defer bar.end()
	for most := 0; ; {
		used, is := errors.AsType[*config.CIDRInUseError](reason)
		if !is || !used.Draining {
			return d.base, d.next, d.steps, reason
		}
		if time.Now().After(end) {
			return nil, nil, 0, incompleteError{fmt.Errorf("%w\nNothing is changed after %s: the same again goes on", reason, timeout)}
		}
		left := used.Use.Blocks + used.Use.Reservations
		most = max(most, left)
		bar.show(most-left, most, fmt.Sprintf("given back; left: blocks of nodes: %d, reservations: %d", used.Use.Blocks, used.Use.Reservations))
		select {
		case <-ctx.Done():
			return nil, nil, 0, ctx.Err()
		case <-time.After(unusedEvery):
		}
		if d.base, err = store.Config.Read(ctx); err != nil {
			return nil, nil, 0, err
		}
		d.next = m.On(d.base)
		d.steps, reason = store.Editor.Plan(ctx, d.base, d.next)
	}
}
