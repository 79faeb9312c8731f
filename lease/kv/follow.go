package kv

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/task"
)

// An Update is what has become of the records of one kind.
type Update[T any] struct {
	Full     bool  // Set is all there is
	Revision int64 // of etcd, that it goes up to
	Set      []T
	Gone     []T             // with what their keys say, and a block's prefix; a record is in Set or in Gone, not in both
	Bad      []*DamagedError // records that cannot be read; they are in neither, and they are not gone
	Repaired []*DamagedError // those that were in Bad, and whose records can be read by now or are gone
	readable []string        // the keys of Set, and those that are gone
}

// rereadWithin bounds the pause before all is read again, which keeps many nodes from doing it at once.
const rereadWithin = time.Second

// Follow calls f with all records of a kind, and then with whatever changes: see Update.
func Follow[T any](ctx context.Context, c *Client, codec Codec[T], f func(Update[T])) error {
	bad := map[string]*DamagedError{}
	notify := func(u Update[T]) {
		u.repaired(bad)
		f(u)
	}
	return c.EachIncarnation(ctx, func(ctx context.Context, incarnation int) {
		revision, err := readFull(ctx, c, codec, incarnation, notify)
		if err != nil {
			return
		}
		c.Watch(ctx, c.Keys.Under(codec.Kind), revision, func(events []*clientv3.Event) bool {
			u, ok := updateOf(c.Keys, codec, events)
			return ok && c.Incarnation.Within(ctx, incarnation, func() { notify(u) })
		})
	})
}

// EachIncarnation calls f, which reads and then watches, again and again until ctx ends; its error is ctx's. The context that
// f gets ends with the present incarnation of the store, too: a watch from a revision of one incarnation could wait for long
// in the next. f is given the incarnation's number, for Incarnation.Within.
func (c *Client) EachIncarnation(ctx context.Context, f func(ctx context.Context, incarnation int)) error {
	for ctx.Err() == nil {
		within, incarnation, end := c.Incarnation.during(ctx)
		f(within, incarnation)
		end()
		_ = task.Pause(ctx, c.Random.Below(rereadWithin))
	}
	return ctx.Err()
}

func readFull[T any](ctx context.Context, c *Client, codec Codec[T], incarnation int, f func(Update[T])) (int64, error) {
	response, err := c.Scan(ctx, c.Keys.Under(codec.Kind))
	if err != nil {
		return 0, err
	}
	u := Update[T]{Full: true, Revision: response.Header.Revision}
	for _, kv := range response.Kvs {
		u.set(codec, c.Keys, kv)
	}
	if !c.Incarnation.Within(ctx, incarnation, func() { f(u) }) {
		return 0, ErrStoreReset
	}
	return u.Revision, nil
}

// Watch gives f what happens under a prefix after a revision, until ctx or the watch ends or f wants no more.
func (c *Client) Watch(ctx context.Context, prefix string, revision int64, f func([]*clientv3.Event) bool) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A member without a leader would send no events, and no error either.
	ctx = clientv3.WithRequireLeader(ctx)
	events := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithPrevKV(),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for response := range events {
		c.noteOutcome(client, "watch "+c.Keys.part(prefix), response.Err())
		// A lower revision is another incarnation's, in which this watch would wait for long.
		if response.Err() != nil || response.Header.Revision < revision || len(response.Events) > 0 && !f(response.Events) {
			return
		}
	}
}

// updateOf makes one update of many events: of a key that changed several times the last one counts. It fails where
// etcd no longer knows what a deleted record was.
func updateOf[T any](keys Keys, codec Codec[T], events []*clientv3.Event) (u Update[T], ok bool) {
	last := make(map[string]int, len(events))
	for i, e := range events {
		last[string(e.Kv.Key)] = i
		u.Revision = max(u.Revision, e.Kv.ModRevision)
	}
	for i, e := range events {
		switch {
		case last[string(e.Kv.Key)] != i:
		case e.Type == mvccpb.PUT:
			u.set(codec, keys, e.Kv)
		case e.PrevKv == nil:
			return u, false
		default:
			u.readable = append(u.readable, string(e.Kv.Key))
			// A record that could not be read was in nobody's Set.
			if record, err := codec.Read(keys, e.PrevKv); err == nil {
				u.Gone = append(u.Gone, record)
			}
		}
	}
	return u, true
}

func (u *Update[T]) set(codec Codec[T], keys Keys, kv *mvccpb.KeyValue) {
	record, err := codec.Read(keys, kv)
	if err != nil {
		u.Bad = append(u.Bad, Damage(err))
		return
	}
	u.Set, u.readable = append(u.Set, record), append(u.readable, string(kv.Key))
}

// repaired fills in which of the keys that were bad are so no more, and takes in those that are.
func (u *Update[T]) repaired(bad map[string]*DamagedError) {
	now := map[string]*DamagedError{}
	for _, e := range u.Bad {
		now[e.Key] = e
	}
	for key, e := range bad {
		if now[key] == nil && (u.Full || slices.Contains(u.readable, key)) {
			u.Repaired = append(u.Repaired, e)
			delete(bad, key)
		}
	}
	maps.Copy(bad, now)
}

// Changed returns when something may have changed under one of the prefixes after a revision, or when ctx ends.
func (c *Client) Changed(ctx context.Context, revision int64, prefixes ...string) {
	ctx, _, cancel := c.Incarnation.during(ctx)
	defer cancel()
	var watches sync.WaitGroup
	for _, prefix := range prefixes {
		watches.Go(func() {
			defer cancel() // the first one to end ends all
			c.Watch(ctx, prefix, revision, func([]*clientv3.Event) bool { return false })
		})
	}
	watches.Wait()
}

// GatherTime is how long a waiter lets changes gather before it reads again: those of a roll-out come from many nodes.
const GatherTime = 50 * time.Millisecond
