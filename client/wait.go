package client

import (
	"context"
	"errors"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
)

// How long Wait rests between two questions: the rest grows while nothing happens.
const (
	firstRest = 100 * time.Millisecond
	lastRest  = 2 * time.Second
)

// Wait asks for the version of a set until it is complete. It calls progress, if that is not nil, with each answer,
// the complete one too. While the agent or etcd is away it goes on asking. When ctx ends it returns the last answer,
// nil if there was none, and ctx's error.
func (c *Client) Wait(ctx context.Context, set Select, progress func(*SetVersion)) (*SetVersion, error) {
	var last *SetVersion
	for rest := firstRest; ; rest = min(rest*3/2, lastRest) {
		v, err := c.Version(ctx, set)
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case err == nil:
			if progress != nil {
				progress(v)
			}
			if last != nil && (v.UpToDate != last.UpToDate || v.Revision != last.Revision) {
				rest = firstRest
			}
			if last = v; v.Complete {
				return v, nil
			}
		case !transient(err):
			return last, err
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

func transient(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && e.Code == wire.CodeTryAgain
}
