package apart

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// sets is a kernel that keeps what it is told, and fails as often as it is told to.
type sets struct {
	mu       sync.Mutex
	now      string
	calls    int
	failures int
}

var errBroken = errors.New("the kernel is broken")

func (s *sets) Separate(from []netops.Range) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.failures > 0 {
		s.failures--
		return errBroken
	}
	s.now = ""
	for _, r := range from {
		if r.From.Is4() { // IPv6's link-local addresses are the allocator's matter
			s.now += fmt.Sprintf("%v-%v ", r.From, r.To)
		}
	}
	return nil
}

// A bench has a keeper of pool 10.42.0.0/28 without a gateway, which is isolated.
type bench struct {
	*Keeper
	t      *testing.T
	kernel *sets
	config config.Config
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, kernel: &sets{}}
	b.config.Revision = 1
	b.config.Pools = map[string]allocator.Pool{"a": {CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/28")}, Isolate: true}}
	board := findings.New(func(findings.Finding, bool) {}, func() time.Time { return time.Now().UTC() })
	b.Keeper = New(Options{Kernel: b.kernel, Config: func() *config.Config { c := b.config; return &c }, Findings: board})
	return b
}

// tell is news of the records.
func (b *bench) tell(u kv.Update[record.Block]) {
	for _, hear := range b.Hooks().Blocks {
		hear(u)
	}
}

func (b *bench) reset() {
	for _, f := range b.Hooks().ResetLocked {
		f()
	}
}

// expect applies, and wants an error and what the kernel has then.
func (b *bench) expect(when string, is error, want string) {
	b.t.Helper()
	if err := b.Apply(); !errors.Is(err, is) || b.kernel.now != want {
		b.t.Errorf("%s: error %v, and the kernel has %q: want %v and %q", when, err, b.kernel.now, is, want)
	}
}

// blockAt is a block of four addresses, some of which are nodes' own.
func blockAt(first string, machines ...string) record.Block {
	b := record.Block{Pool: "a", Prefix: netip.MustParsePrefix(first + "/30")}
	for _, m := range machines {
		b.Parts = append(b.Parts, record.Part{Prefix: netip.MustParsePrefix(m + "/32"), Owner: record.OwnerMachine, Node: "n1"})
	}
	return b
}

func full(blocks ...record.Block) kv.Update[record.Block] {
	return kv.Update[record.Block]{Full: true, Set: blocks}
}

const (
	whole   = "10.42.0.1-10.42.0.14 "
	without = "10.42.0.1-10.42.0.4 10.42.0.6-10.42.0.14 " // 10.42.0.5, a node's own
)

func TestNothingIsSetBeforeConfigurationAndRecordsAreKnown(t *testing.T) {
	b := newBench(t)
	b.config.Revision = 0
	b.tell(full())
	b.expect("no configuration", errUnknown, "")
	b.config.Revision = 1
	b.reset()
	b.expect("no records", errUnknown, "")
	b.tell(kv.Update[record.Block]{Set: []record.Block{blockAt("10.42.0.4", "10.42.0.5")}})
	b.expect("a part of the records", errUnknown, "")
	if b.kernel.calls > 0 {
		t.Errorf("the kernel was asked %d times", b.kernel.calls)
	}
	b.tell(full(blockAt("10.42.0.4", "10.42.0.5")))
	b.expect("all is known", nil, without)
}

func TestWithoutAnIsolatedPoolNoRecordsAreNeeded(t *testing.T) {
	b := newBench(t)
	b.config.Pools = nil
	b.expect("no pool", nil, "")
	if b.kernel.calls != 1 {
		t.Errorf("the kernel was told %d times: want that what it has from before ends", b.kernel.calls)
	}
}

func TestWhatIsApartFollowsTheRecords(t *testing.T) {
	b := newBench(t)
	own := blockAt("10.42.0.4", "10.42.0.5")
	b.tell(full(blockAt("10.42.0.0"), own))
	b.expect("at first", nil, without)
	b.tell(kv.Update[record.Block]{Set: []record.Block{blockAt("10.42.0.4")}})
	b.expect("the node's address is another by now", nil, whole)
	b.tell(kv.Update[record.Block]{Set: []record.Block{own}})
	b.expect("again", nil, without)
	b.tell(kv.Update[record.Block]{Gone: []record.Block{{Pool: "a", Prefix: own.Prefix}}})
	b.expect("the block is gone", nil, whole)
	b.tell(full(own))
	b.tell(full())
	b.expect("it is missing in all there is", nil, whole)
	calls := b.kernel.calls
	b.expect("nothing has changed", nil, whole)
	if b.kernel.calls != calls {
		t.Error("the kernel is told what it has")
	}
}

func TestARecordThatCannotBeReadKeepsWhatWasKnownOfIt(t *testing.T) {
	b := newBench(t)
	own := blockAt("10.42.0.4", "10.42.0.5")
	b.tell(full(own))
	bad := &kv.DamagedError{At: kv.Key{Kind: kv.KindBlock, Pool: "a", Address: own.Prefix.Addr()}, Err: errBroken}
	b.tell(kv.Update[record.Block]{Full: true, Bad: []*kv.DamagedError{bad}})
	b.expect("it cannot be read", nil, without)
	for _, other := range []kv.Key{
		{Kind: kv.KindBlock, Pool: "b", Address: own.Prefix.Addr()}, {Kind: kv.KindBlock, Pool: "a", Address: netip.MustParseAddr("10.42.0.8")},
		{Kind: kv.KindReservation, Pool: "a", Address: own.Prefix.Addr()}, {},
	} {
		b.tell(full(own))
		b.expect("it can be read", nil, without)
		b.tell(kv.Update[record.Block]{Full: true, Bad: []*kv.DamagedError{{At: other, Err: errBroken}}})
		b.expect("another one cannot", nil, whole)
	}
}

func TestWhatIsSetStaysUntilTheRecordsOfAnotherIncarnationAreKnown(t *testing.T) {
	b := newBench(t)
	b.tell(full(blockAt("10.42.0.4", "10.42.0.5")))
	b.expect("at first", nil, without)
	b.reset()
	p := b.config.Pools["a"]
	p.Exclude = []allocator.Range{{From: netip.MustParseAddr("10.42.0.9"), To: netip.MustParseAddr("10.42.0.14")}}
	b.config.Pools["a"] = p
	b.expect("another incarnation, and another configuration", errUnknown, without)
	b.tell(full())
	b.expect("its records are known", nil, "10.42.0.1-10.42.0.8 ")
}

func TestAnAddOfAnIsolatedPoolWaitsForTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		if err := b.Ensure(t.Context(), &allocator.Pool{}); err != nil || b.kernel.calls > 0 {
			t.Errorf("another pool waits: %v", err)
		}
		pool := &allocator.Pool{Isolate: true}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Ensure(short, pool); !errors.Is(err, errUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while nothing is known it says %v", err)
		}
		done := make(chan error)
		go func() { done <- b.Ensure(t.Context(), pool) }()
		synctest.Wait()
		b.tell(full())
		if err := <-done; err != nil || b.kernel.now != whole {
			t.Errorf("when all is known: %v, and the kernel has %q", err, b.kernel.now)
		}
		b.kernel.failures = 1
		b.tell(full(blockAt("10.42.0.4", "10.42.0.5")))
		if err := b.Ensure(t.Context(), pool); !errors.Is(err, errBroken) {
			t.Errorf("the kernel refuses, and it says %v", err)
		}
	})
}

func TestWhatTheKernelRefusesIsTriedAgainAndToldMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		told := func() bool {
			return slices.ContainsFunc(b.Findings.List(), func(f findings.Finding) bool { return f.Kind == notSet })
		}
		b.kernel.failures = 2
		b.tell(full())
		synctest.Wait()
		if !told() {
			t.Error("that the kernel refuses is no finding")
		}
		time.Sleep(3 * retry)
		synctest.Wait()
		if told() || b.kernel.now != whole || b.kernel.calls != 3 {
			t.Errorf("later the finding stands: %t; the kernel has %q after %d calls", told(), b.kernel.now, b.kernel.calls)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
