package etcd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/e2e/sim/chance"
	"github.com/berth-ipam/berth/lease/embedded"
)

// TestTheWayAnswersAsAnEtcdOverTCPDoes makes the same calls by the simulated way and by TCP, with faults: answers and kinds of errors are
// the same.
func TestTheWayAnswersAsAnEtcdOverTCPDoes(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulated, overTCP := bySim(t, seed), byTCP(t, seed)
			for i, line := range simulated {
				if i >= len(overTCP) || overTCP[i] != line {
					t.Fatalf("of %d calls:\n%s\nthe way: %s\nby TCP:  %s", len(simulated), strings.Join(simulated[max(0, i-8):i], "\n"), line,
						overTCP[min(i, len(overTCP)-1)])
				}
			}
			t.Logf("%d calls, the last: %s", len(simulated), simulated[len(simulated)-1])
		})
	}
}

// make makes the calls of a seed, and returns what came of each.
func (s *subject) make(seed uint64) (lines []string) {
	calls := s.calls()
	var names []string
	for name := range calls {
		names = append(names, name)
	}
	slices.Sort(names)
	s.reaches()
	r := rand.New(rand.NewPCG(seed, 0))
	for n := range 200 {
		name := names[r.IntN(len(names))]
		lines = append(lines, fmt.Sprintf("%d %s: %s", n, name, calls[name](rand.New(rand.NewPCG(seed, uint64(n))))))
	}
	return lines
}

// bySim makes the calls on virtual time.
func bySim(t *testing.T, seed uint64) (lines []string) {
	inBubble(t, 0, func(b *bubble) {
		server := b.server
		way := NewWay(server, chance.New(seed))
		condition := func(c Condition) func() (end func()) {
			return func() func() {
				way.Set(c)
				return func() { way.Set(Condition{}) }
			}
		}
		client, err := way.Process(nil).Connect("")
		if err != nil {
			t.Fatal(err)
		}
		s := &subject{Etcd: client, raw: server.Client, stop: server.Stop, start: func() error { return server.start(false) }, ctx: b.Context(),
			faults: map[string]func() func(){
				"hang": condition(Condition{Hang: true}), "cut": condition(Condition{Cut: true}), "lost": condition(Condition{CutBack: true}),
			}}
		lines = s.make(seed)
		way.Wait()
	})
	return lines
}

// byTCP makes them on an etcd that listens on the loopback device, by etcd's own client.
func byTCP(t *testing.T, seed uint64) []string {
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	var server *embedded.Server
	var raw *clientv3.Client
	start := func() error {
		if server, err = embedded.Start(t.Context(), embedded.Options{
			Dir: dir, Name: "test", ListenClient: []string{"http://" + at}, Fast: true,
		}); err == nil {
			raw, err = clientv3.New(clientv3.Config{Endpoints: []string{at}, Logger: zap.NewNop()})
		}
		return err
	}
	stop := func() {
		raw.Close()
		server.Stop()
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop() }()
	w := &wire{under: func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", at) }}
	client, err := wires{w}.Connect("")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := &subject{Etcd: client, raw: func() *clientv3.Client { return raw }, stop: stop, start: start, ctx: t.Context(),
		faults: map[string]func() func(){"hang": w.hang, "cut": w.lose, "lost": w.hold}}
	return s.make(seed)
}

// reaches waits until the way is good again: a client that has lost its connection makes a new one.
func (s *subject) reaches() {
	for s.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		_, err := s.Etcd.Get(ctx, "/k0")
		if cancel(); err == nil {
			return
		}
	}
}

// during is what a call comes to that gets no answer in its time, while a fault lasts.
func (s *subject) during(fault string, call func(context.Context) string, then func()) string {
	end := s.faults[fault]()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	outcome := call(ctx)
	cancel()
	then()
	end()
	s.reaches()
	return outcome
}

// reads are calls that change nothing.
func (s *subject) reads(r *rand.Rand) func(context.Context) string {
	switch r.IntN(3) {
	case 0:
		return s.status
	case 1:
		return func(ctx context.Context) string { return s.renew(ctx, 12345) }
	}
	return func(ctx context.Context) string { return s.get(ctx, r) }
}

func (s *subject) hung(r *rand.Rand) string { return s.during("hang", s.reads(r), func() {}) }

// written is a call that writes, and what its key is.
func written(s *subject, r *rand.Rand) (call func(context.Context) string, key, value string) {
	key, value = fmt.Sprint("/lost", r.IntN(3)), fmt.Sprint(r.Uint64())
	return func(ctx context.Context) string {
		_, err := s.Txn(ctx).Then(clientv3.OpPut(key, value)).Commit()
		return kindOf(err)
	}, key, value
}

func (s *subject) cut(r *rand.Rand) string {
	call, key, value := written(s, r)
	outcome := s.during("cut", call, func() {})
	return outcome + s.has(key, value)
}

// lost is a write whose answer is lost: it is carried out.
func (s *subject) lost(r *rand.Rand) string {
	call, key, value := written(s, r)
	outcome := s.during("lost", call, func() {
		for s.has(key, value) != ", carried out" {
			time.Sleep(time.Millisecond)
		}
	})
	return outcome + s.has(key, value)
}

// has says whether a write was carried out, as etcd has it beside the way.
func (s *subject) has(key, value string) string {
	a, err := s.raw().Get(s.ctx, key)
	switch {
	case err != nil:
		return ", " + kindOf(err)
	case len(a.Kvs) > 0 && string(a.Kvs[0].Value) == value:
		s.sees(a.Header)
		return ", carried out"
	}
	return ", not carried out"
}

// givenUp is a call whose caller has given up before it.
func (s *subject) givenUp(r *rand.Rand) string {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if r.IntN(2) == 0 {
		return s.reads(r)(ctx)
	}
	call, key, value := written(s, r)
	return call(ctx) + s.has(key, value)
}

// restarted is a call while etcd does not run, and what is there afterwards.
func (s *subject) restarted(r *rand.Rand) string {
	s.stop()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	outcome := s.get(ctx, r)
	cancel()
	if err := s.start(); err != nil {
		return err.Error()
	}
	s.reaches()
	return outcome + ", then " + s.get(s.ctx, r)
}

func (s *subject) compact(r *rand.Rand) string {
	_, err := s.raw().Compact(s.ctx, max(1, s.now+2-r.Int64N(8)))
	return kindOf(err)
}

// watch follows a key, or several, from some revision until now.
func (s *subject) watch(r *rand.Rand) string {
	how := []clientv3.OpOption{clientv3.WithRev(1 + r.Int64N(s.now+1)), clientv3.WithPrefix()}
	if r.IntN(2) == 0 {
		how = append(how, clientv3.WithPrevKV())
	}
	end, err := s.raw().Put(s.ctx, "/kz", "")
	if err != nil {
		return kindOf(err)
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(s.ctx))
	defer cancel()
	var text strings.Builder
	for a := range s.Watch(ctx, "/k", how...) {
		if a.Err() != nil {
			fmt.Fprintf(&text, "; %s, canceled %v, compacted at %d", kindOf(a.Err()), a.Canceled, a.CompactRevision)
		}
		for _, e := range a.Events {
			fmt.Fprintf(&text, "; %s%s", e.Type, s.pairs([]*mvccpb.KeyValue{e.Kv}))
			if e.PrevKv != nil {
				fmt.Fprintf(&text, " was%s", s.pairs([]*mvccpb.KeyValue{e.PrevKv}))
			}
			if e.Kv.ModRevision == s.sees(end.Header) {
				cancel()
			}
		}
	}
	return text.String()
}
