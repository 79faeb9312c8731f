package lease

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

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

// FollowBlocks calls f with all blocks, and then with whatever changes, until ctx ends; its error is ctx's. After a
// compaction, or a time without etcd that etcd cannot bridge, f gets all again. So it does in each life of etcd's, and it
// never gets what was read in a former one: see OnAnotherLife.
func (s *Store) FollowBlocks(ctx context.Context, f func(Update[Block])) error {
	return follow(ctx, s, blockForm, func(u Update[Block]) {
		s.hints.blocks(u)
		f(u)
	})
}

// FollowReservations is FollowBlocks for reservations. While it runs the Store knows which addresses identities have,
// so that Reserve needs one transaction for a known one, too.
func (s *Store) FollowReservations(ctx context.Context, f func(Update[Reservation])) error {
	return follow(ctx, s, reservationForm, func(u Update[Reservation]) {
		s.hints.reservations(u)
		f(u)
	})
}

// FollowNodes is FollowBlocks for nodes, each with the mod revision of its key.
func (s *Store) FollowNodes(ctx context.Context, f func(Update[Node])) error {
	return follow(ctx, s, nodeForm, func(u Update[Node]) {
		s.deleted.take(u)
		f(u)
	})
}

// FollowSessions is FollowBlocks for the nodes' sessions.
func (s *Store) FollowSessions(ctx context.Context, f func(Update[Presence])) error {
	return follow(ctx, s, sessionForm, f)
}

func follow[T any](ctx context.Context, s *Store, form form[T], f func(Update[T])) error {
	bad := map[string]*DamagedError{}
	tell := func(u Update[T]) {
		u.mended(bad)
		f(u)
	}
	return s.lifeByLife(ctx, func(ctx context.Context, life int) {
		revision, err := readFull(ctx, s, form, life, tell)
		if err != nil {
			return
		}
		s.watch(ctx, s.keys.Under(form.kind), revision, func(events []*clientv3.Event) bool {
			u, ok := updateOf(s.keys, form, events)
			return ok && s.life.within(life, func() { tell(u) })
		})
	})
}

// lifeByLife calls f, which reads and then watches, again and again until ctx ends; its error is ctx's. The context that
// f gets ends with the present life of etcd's, too: by a revision of one life a watch in the next could wait for long. By
// the life's number f tells what it has read.
func (s *Store) lifeByLife(ctx context.Context, f func(ctx context.Context, life int)) error {
	for ctx.Err() == nil {
		within, life, end := s.life.during(ctx)
		f(within, life)
		end()
		_ = pause(ctx, rand.N(rereadWithin))
	}
	return ctx.Err()
}

func readFull[T any](ctx context.Context, s *Store, form form[T], life int, f func(Update[T])) (int64, error) {
	response, err := s.scan(ctx, s.keys.Under(form.kind))
	if err != nil {
		return 0, err
	}
	u := Update[T]{Full: true, Revision: response.Header.Revision}
	for _, kv := range response.Kvs {
		u.set(form, s.keys, kv)
	}
	if !s.life.within(life, func() { f(u) }) {
		return 0, ErrOtherLife
	}
	return u.Revision, nil
}

// watch gives f what happens under a prefix after a revision, until ctx or the watch ends or f wants no more.
func (s *Store) watch(ctx context.Context, prefix string, revision int64, f func([]*clientv3.Event) bool) {
	client, err := s.etcd()
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
		s.heard(client, "watch "+s.keys.part(prefix), response.Err())
		// Revisions that go back are another history of etcd's, in which this watch would wait for long.
		if response.Err() != nil || response.Header.Revision < revision || len(response.Events) > 0 && !f(response.Events) {
			return
		}
	}
}

// updateOf makes one update of many events: of a key that changed several times the last one counts. It fails where
// etcd no longer knows what a deleted record was.
func updateOf[T any](keys Keys, form form[T], events []*clientv3.Event) (u Update[T], ok bool) {
	last := make(map[string]int, len(events))
	for i, e := range events {
		last[string(e.Kv.Key)] = i
		u.Revision = max(u.Revision, e.Kv.ModRevision)
	}
	for i, e := range events {
		switch {
		case last[string(e.Kv.Key)] != i:
		case e.Type == mvccpb.PUT:
			u.set(form, keys, e.Kv)
		case e.PrevKv == nil:
			return u, false
		default:
			u.good = append(u.good, string(e.Kv.Key))
			// What could not be read when it was there, is nobody's loss.
			if record, err := form.read(keys, e.PrevKv); err == nil {
				u.Gone = append(u.Gone, record)
			}
		}
	}
	return u, true
}

func (u *Update[T]) set(form form[T], keys Keys, kv *mvccpb.KeyValue) {
	record, err := form.read(keys, kv)
	if err != nil {
		u.Bad = append(u.Bad, damage(err))
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
