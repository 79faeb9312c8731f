package lab

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-ipam/berth/e2e/sim/chance"
	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/lease/kv"
)

// A Bubble is a lab on virtual time. Its etcd is etcd's own server, its stores have one way to it, which can be cut, and every call
// on that way can be seen. A session lasts for 8 s at least.
type Bubble struct {
	*Lab
	Server *etcd.Server
	Way    *etcd.Way

	turn chan struct{} // full while seen is called or changed
	seen func(call string)
}

// InBubble runs a test on virtual time, beside others.
func InBubble(t *testing.T, test func(b *Bubble)) {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		server, err := etcd.Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		b := &Bubble{Lab: &Lab{T: t, raw: server.Client}, Server: server, Way: etcd.NewWay(server, chance.New(1)),
			turn: make(chan struct{}, 1)}
		t.Cleanup(func() {
			time.Sleep(kv.ScanTime) // what a client still asks beside a call has ended then
			b.Way.Wait()
			server.Stop()
		})
		b.Options = kv.Options{Endpoints: []string{"http://bubble:2379"}, Prefix: "/b", Network: b.Way.Process(b.call), Random: random.Seeded(1)}
		began := time.Now()
		b.Options.Clock.Boot, b.Options.Clock.Wall = func() time.Duration { return time.Since(began) }, time.Now
		test(b)
	})
}

func (b *Bubble) call(point string) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.seen != nil {
		b.seen(point)
	}
}

// OnCall has f called, by one call at a time, before and after each: with "before " or "after ", and what it is. It may do something
// in between.
func (b *Bubble) OnCall(f func(call string)) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.seen = f
}

// Throughout cuts the way to etcd before the first call of do, then of a further do before the second one, and so on, until do makes
// no more calls: once for good, and once until a call of another kind. Each do is preceded by a preparation. It fails where do succeeds
// though a call of it had no answer: an error is never an absence.
func (b *Bubble) Throughout(what string, prepare func(), do func() error) {
	b.Helper()
	for n := 1; b.without(what, n, true, prepare, do); n++ {
		b.without(what, n, false, prepare, do)
	}
}

// without has the nth call of do, and all later ones or all of its kind, without an answer. It reports whether there was such a call.
func (b *Bubble) without(what string, n int, forGood bool, prepare func(), do func() error) (cut bool) {
	b.Helper()
	prepare()
	calls, kind := 0, ""
	b.OnCall(func(call string) {
		call, before := strings.CutPrefix(call, "before ")
		if !before || call == "revoke" || call == "status" { // nobody waits for these
			return
		}
		if calls++; calls == n {
			kind = call
		}
		b.Way.Set(etcd.Condition{Cut: kind != "" && (forGood || call == kind)})
	})
	err := do()
	b.OnCall(nil)
	b.Way.Set(etcd.Condition{})
	b.Way.Wait()
	switch {
	case kind == "" && err != nil:
		b.Errorf("%s: fails with all its answers: %v", what, err)
	case kind == "" && n == 1:
		b.Errorf("%s: makes no call", what)
	case kind != "" && !kv.Unavailable(err):
		b.Errorf("%s: had no answer from its call number %d (%s) on, for good: %t, and ended with %v", what, n, kind, forGood, err)
	}
	return kind != ""
}
