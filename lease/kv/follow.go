package kv

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/internal/task"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An Update is what has become of the records of one kind.
type Update[T any] struct {
	Full     bool  // Set is all there is
	Revision int64 // up to which it tells
	Set      []T
	Gone     []T             // with what their keys say, and a block's prefix; a record is in Set or in Gone, not in both
	Bad      []*DamagedError // records that cannot be read; they are in neither, and they are not gone
	Mended   []*DamagedError // those that were in Bad, and whose records can be read by now or are gone
	good     []string        // the keys of Set, and those that are gone
}

// rereadWithin bounds the pause before all is read again, which keeps many nodes from doing it at once.
const rereadWithin = time.Second

// Follow calls f with all records of a kind, and then with whatever changes: see Update.
func Follow[T any](ctx context.Context, c *Client, codec Codec[T], f func(Update[T])) error {
	bad := map[string]*DamagedError{}
	tell := func(u Update[T]) {
		u.mended(bad)
		f(u)
	}
	return c.EachIncarnation(ctx, func(ctx context.Context, life int) {
		revision, err := readFull(ctx, c, codec, life, tell)
		if err != nil {
			return
		}
		c.Watch(ctx, c.Keys.Under(codec.Kind), revision, func(events []*clientv3.Event) bool {
			u, ok := updateOf(c.Keys, codec, events)
			return ok && c.Incarnation.Within(life, func() { tell(u) })
		})
	})
}

// EachIncarnation calls f, which reads and then watches, again and again until ctx ends; its error is ctx's. The context that
// f gets ends with the present life of etcd's, too: by a revision of one life a watch in the next could wait for long. By
// the life's number f tells what it has read.
func (c *Client) EachIncarnation(ctx context.Context, f func(ctx context.Context, life int)) error {
	for ctx.Err() == nil {
		within, life, end := c.Incarnation.during(ctx)
		f(within, life)
		end()
		_ = task.Pause(ctx, rand.N(rereadWithin))
	}
	return ctx.Err()
}

func readFull[T any](ctx context.Context, c *Client, codec Codec[T], life int, f func(Update[T])) (int64, error) {
	response, err := c.Scan(ctx, c.Keys.Under(codec.Kind))
	if err != nil {
		return 0, err
	}
	u := Update[T]{Full: true, Revision: response.Header.Revision}
	for _, kv := range response.Kvs {
		u.set(codec, c.Keys, kv)
	}
	if !c.Incarnation.Within(life, func() { f(u) }) {
		return 0, ErrStoreReset
	}
	return u.Revision, nil
}

// Watch gives f what happens under a prefix after a revision, until ctx or the watch ends or f wants no more.
func (c *Client) Watch(ctx context.Context, prefix string, revision int64, f func([]*clientv3.Event) bool) {
	client, err := c.Etcd()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Without a leader etcd would keep silent, and the follower would think that nothing happens.
	ctx = clientv3.WithRequireLeader(ctx)
	events := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithPrevKV(),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	for response := range events {
		c.heard(client, "watch "+c.Keys.part(prefix), response.Err())
		// Revisions that go back are another history of etcd's, in which this watch would wait for long.
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
			u.good = append(u.good, string(e.Kv.Key))
			// What could not be read when it was there, is nobody's loss.
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
	u.Set, u.good = append(u.Set, record), append(u.good, string(kv.Key))
}

// mended fills in which of the keys that were bad are so no more, and takes in those that are.
func (u *Update[T]) mended(bad map[string]*DamagedError) {
	now := map[string]*DamagedError{}
	for _, e := range u.Bad {
		now[e.Key] = e
	}
	for key, e := range bad {
		if now[key] == nil && (u.Full || slices.Contains(u.good, key)) {
			u.Mended = append(u.Mended, e)
			delete(bad, key)
		}
	}
	maps.Copy(bad, now)
}

// Changed returns when something has changed under one of the prefixes after a revision, or may have, or when ctx ends.
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

// Gather is how long WaitVersion lets reports gather before it reads again: those of a roll-out come from many nodes.
const Gather = 50 * time.Millisecond
