package kv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
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

// followBlocks keeps a view until the test ends.
func followBlocks(l *lab.Lab, s *lab.Store) *view {
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

func agrees(l *lab.Lab, v *view, s *lab.Store) {
	l.Helper()
	l.Until("the follower knows what etcd has", func() bool {
		blocks, err := s.Blocks.List(l.Context())
		return err == nil && v.is(blocks)
	})
}

func TestAFollowerKnowsWhatEtcdHas(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	v := followBlocks(l, l.Store())
	var claimed []record.Block
	for i := range 20 {
		b, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix(fmt.Sprintf("10.42.%d.0/26", 16+i)))
		l.Check(err)
		claimed = append(claimed, b)
		if i%3 == 2 {
			l.Check(lab.Second(block.Release(t.Context(), x.Session, claimed[i-1], claimed[i-1].Prefix)))
		}
	}
	agrees(l, v, s)
	if fulls, _ := v.told(); fulls != 1 {
		t.Errorf("all was told %d times", fulls)
	}
}

func TestARecordThatCannotBeReadDoesNotStopAFollower(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	rubbish := func(key string) { l.Put(key, "rubbish") }
	rubbish(s.KV.Keys.Block("default", lab.Prefix("10.42.16.0/26")))
	v := followBlocks(l, l.Store())
	l.Until("the bad record was told", func() bool { _, bad := v.told(); return bad == 1 })
	rubbish(s.KV.Keys.Under(kv.KindBlock) + "a/b/c")
	l.Until("the bad key was told", func() bool { _, bad := v.told(); return bad == 2 })
	_, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.17.0/26"))
	l.Check(err)
	l.Delete(s.KV.Keys.Block("default", lab.Prefix("10.42.16.0/26")))
	l.Delete(s.KV.Keys.Under(kv.KindBlock) + "a/b/c")
	agrees(l, v, s)
}

func TestAFollowerSurvivesCompactionsAndRestarts(t *testing.T) {
	l := lab.New(t)
	restart := l.Own()
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	v := followBlocks(l, l.Store())
	compact := func() {
		status, err := l.Raw().Get(t.Context(), "now")
		l.Check(err)
		if _, err := l.Raw().Compact(t.Context(), status.Header.Revision); err != nil && !lab.Contains(err, "compacted") {
			t.Fatal(err)
		}
	}
	claim := func(n int) {
		l.Until("a claim succeeds", func() bool {
			_, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix(fmt.Sprintf("10.42.%d.0/26", n)))
			if errors.Is(err, session.ErrLost) {
				x = l.Join(s, "n1")
			}
			return err == nil
		})
	}
	for n := 16; n < 20; n++ {
		claim(n)
		compact()
		agrees(l, v, s)
		restart(func() {})
		claim(n + 10)
		claim(n + 20)
		compact()
		agrees(l, v, s)
	}
}

// A follower that was cut off while etcd forgot what happened meanwhile is told all again.
func TestAFollowerThatMissedACompactionIsNotifiedOfAllAgain(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	revision := l.Apply(s, lab.Smallest()).PoolRevisions["default"]
	x := l.Join(s, "n1")
	wire := l.Wire()
	v := followBlocks(l, l.Store(func(o *kv.Options) { o.Endpoints = []string{wire.Endpoint} }))
	first, err := block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26"))
	l.Check(err)
	agrees(l, v, s)

	wire.Cut()
	l.Check(lab.Second(block.Release(t.Context(), x.Session, first, first.Prefix)))
	_, err = block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.17.0/26"))
	l.Check(err)
	now, err := l.Raw().Get(t.Context(), "now")
	l.Check(err)
	_, err = l.Raw().Compact(t.Context(), now.Header.Revision)
	l.Check(err)
	wire.Repair()
	agrees(l, v, s)
	if fulls, _ := v.told(); fulls < 2 {
		t.Errorf("all was told %d times", fulls)
	}
}

func TestOfAKeyThatChangedTwiceTheLastValueCounts(t *testing.T) {
	keys := kv.NewKeys("")
	events := func(deleted ...bool) (all []*clientv3.Event) {
		for i, gone := range deleted {
			whole := lab.Prefix("10.42.16.0/26")
			b := record.Block{Prefix: whole, Parts: []record.Part{{Prefix: whole, Owner: fmt.Sprint("n", i)}}}
			all = append(all, event(keys.Block("default", b.Prefix), kv.Encode(b), int64(10+i), gone))
		}
		return all
	}
	u, ok := kv.UpdateOf(keys, record.BlockCodec, events(false, true, false))
	if !ok || len(u.Set) != 1 || len(u.Gone) != 0 || u.Set[0].Parts[0].Owner != "n2" || u.Set[0].Revision != 12 || u.Revision != 12 {
		t.Errorf("made, deleted, made: %+v", u)
	}
	u, ok = kv.UpdateOf(keys, record.BlockCodec, events(false, false, true))
	if !ok || len(u.Set) != 0 || len(u.Gone) != 1 || u.Gone[0].Pool != "default" || u.Gone[0].Prefix != lab.Prefix("10.42.16.0/26") {
		t.Errorf("made, changed, deleted: %+v", u)
	}
	forgotten := events(true)
	forgotten[0].PrevKv = nil
	if u, ok := kv.UpdateOf(keys, record.BlockCodec, forgotten); ok {
		t.Errorf("deleted, and etcd has forgotten what: %+v", u)
	}
}
