package lease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// A view is what a follower has been told.
type view struct {
	mu    sync.Mutex
	all   map[string]record.Block
	fulls int
	bad   int
}

func (v *view) take(u kv.Update[record.Block]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if u.Full {
		v.all = map[string]record.Block{}
		v.fulls++
	}
	v.bad += len(u.Bad)
	for _, b := range u.Set {
		v.all[b.Pool+" "+b.Prefix.String()] = b
	}
	for _, b := range u.Gone {
		delete(v.all, b.Pool+" "+b.Prefix.String())
	}
}

// is reports whether the view is what etcd has.
func (v *view) is(blocks []record.Block) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.all) != len(blocks) {
		return false
	}
	for _, b := range blocks {
		if v.all[b.Pool+" "+b.Prefix.String()].Revision != b.Revision {
			return false
		}
	}
	return true
}

func (v *view) told() (fulls, bad int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fulls, v.bad
}

// follow keeps a view until the test ends.
func (l *lab) follow(s *Store) *view {
	v := &view{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Blocks.Follow(ctx, v.take) }()
	l.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			l.Errorf("following ended with %v", err)
		}
	})
	return v
}

func (l *lab) agrees(v *view, s *Store) {
	l.Helper()
	l.until("the follower knows what etcd has", func() bool {
		blocks, err := s.Blocks.List(l.Context())
		return err == nil && v.is(blocks)
	})
}

func TestAFollowerKnowsWhatEtcdHas(t *testing.T) {
	l := newLab(t)
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	v := l.follow(l.store())
	var claimed []record.Block
	for i := range 20 {
		b, err := x.ClaimBlock(t.Context(), "default", revision, prefix(fmt.Sprintf("10.42.%d.0/26", 16+i)))
		l.check(err)
		claimed = append(claimed, b)
		if i%3 == 2 {
			l.check(second(x.ReleaseBlock(t.Context(), claimed[i-1], claimed[i-1].Prefix)))
		}
	}
	l.agrees(v, s)
	if fulls, _ := v.told(); fulls != 1 {
		t.Errorf("all was told %d times", fulls)
	}
}

func TestARecordThatCannotBeReadDoesNotStopAFollower(t *testing.T) {
	l := newLab(t)
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	rubbish := func(key string) { l.put(key, "rubbish") }
	rubbish(s.KV.Keys.Block("default", prefix("10.42.16.0/26")))
	v := l.follow(l.store())
	l.until("the bad record was told", func() bool { _, bad := v.told(); return bad == 1 })
	rubbish(s.KV.Keys.Under(kv.KindBlock) + "a/b/c")
	l.until("the bad key was told", func() bool { _, bad := v.told(); return bad == 2 })
	_, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.17.0/26"))
	l.check(err)
	l.delete(s.KV.Keys.Block("default", prefix("10.42.16.0/26")))
	l.delete(s.KV.Keys.Under(kv.KindBlock) + "a/b/c")
	l.agrees(v, s)
}

// own gives the lab an etcd of its own, and a way to end it and start it again.
func (l *lab) own() (restart func(while func())) {
	l.Helper()
	dir, err := os.MkdirTemp("", "own")
	l.check(err)
	server, err := etcdtest.Start(dir)
	l.check(err)
	l.options.Endpoints = server.Endpoints()
	l.Cleanup(func() {
		server.Stop()
		os.RemoveAll(dir)
	})
	return func(while func()) {
		server.Stop()
		while()
		server, err = etcdtest.Start(dir)
		l.check(err)
	}
}

func TestAFollowerSurvivesCompactionsAndRestarts(t *testing.T) {
	l := newLab(t)
	restart := l.own()
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	v := l.follow(l.store())
	compact := func() {
		status, err := l.raw().Get(t.Context(), "now")
		l.check(err)
		if _, err := l.raw().Compact(t.Context(), status.Header.Revision); err != nil && !contains(err, "compacted") {
			t.Fatal(err)
		}
	}
	claim := func(n int) {
		l.until("a claim succeeds", func() bool {
			_, err := x.ClaimBlock(t.Context(), "default", revision, prefix(fmt.Sprintf("10.42.%d.0/26", n)))
			if errors.Is(err, session.ErrLost) {
				x = l.join(s, "n1")
			}
			return err == nil
		})
	}
	for n := 16; n < 20; n++ {
		claim(n)
		compact()
		l.agrees(v, s)
		restart(func() {})
		claim(n + 10)
		claim(n + 20)
		compact()
		l.agrees(v, s)
	}
}

// A follower that was cut off while etcd forgot what happened meanwhile is told all again.
func TestAFollowerThatMissedACompactionIsToldAllAgain(t *testing.T) {
	l := newLab(t)
	s := l.store()
	revision := l.apply(s, smallest()).PoolRevisions["default"]
	x := l.join(s, "n1")
	wire := l.wire()
	v := l.follow(l.store(func(o *kv.Options) { o.Endpoints = []string{wire.endpoint} }))
	first, err := x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.16.0/26"))
	l.check(err)
	l.agrees(v, s)

	wire.cut()
	l.check(second(x.ReleaseBlock(t.Context(), first, first.Prefix)))
	_, err = x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.17.0/26"))
	l.check(err)
	now, err := l.raw().Get(t.Context(), "now")
	l.check(err)
	_, err = l.raw().Compact(t.Context(), now.Header.Revision)
	l.check(err)
	wire.mend()
	l.agrees(v, s)
	if fulls, _ := v.told(); fulls < 2 {
		t.Errorf("all was told %d times", fulls)
	}
}

func TestOfAKeyThatChangedTwiceTheLastWordCounts(t *testing.T) {
	keys := kv.NewKeys("")
	events := func(deleted ...bool) (all []*clientv3.Event) {
		for i, gone := range deleted {
			b := record.Block{Prefix: prefix("10.42.16.0/26"), Parts: []record.Part{{Prefix: prefix("10.42.16.0/26"), Owner: fmt.Sprint("n", i)}}}
			all = append(all, event(keys.Block("default", b.Prefix), kv.Encode(b), int64(10+i), gone))
		}
		return all
	}
	u, ok := kv.UpdateOf(keys, record.BlockCodec, events(false, true, false))
	if !ok || len(u.Set) != 1 || len(u.Gone) != 0 || u.Set[0].Parts[0].Owner != "n2" || u.Set[0].Revision != 12 || u.Revision != 12 {
		t.Errorf("made, deleted, made: %+v", u)
	}
	u, ok = kv.UpdateOf(keys, record.BlockCodec, events(false, false, true))
	if !ok || len(u.Set) != 0 || len(u.Gone) != 1 || u.Gone[0].Pool != "default" || u.Gone[0].Prefix != prefix("10.42.16.0/26") {
		t.Errorf("made, changed, deleted: %+v", u)
	}
	forgotten := events(true)
	forgotten[0].PrevKv = nil
	if u, ok := kv.UpdateOf(keys, record.BlockCodec, forgotten); ok {
		t.Errorf("deleted, and etcd has forgotten what: %+v", u)
	}
}
