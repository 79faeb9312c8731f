package routes

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// A table is a kernel that keeps routes, and refuses the hops that it is told to.
type table struct {
	mu       sync.Mutex
	now      netops.Routing
	sets     int // calls of SetRouting
	changes  int // hops in calls of ChangeHops
	refuses  map[netip.Addr]bool
	failures int // how many calls fail from now on
}

var errBroken = errors.New("the kernel is broken")

func (t *table) SetRouting(r netops.Routing) ([]netops.RefusedHop, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sets++; t.failures > 0 {
		t.failures--
		return nil, errBroken
	}
	t.now = r
	t.now.Hops = maps.Clone(r.Hops)
	return t.refused(), nil
}

func (t *table) ChangeHops(changed map[netip.Prefix]netops.Hop) ([]netops.RefusedHop, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes += len(changed)
	for to, hop := range changed {
		if t.now.Hops[to] = hop; !hop.IsValid() {
			delete(t.now.Hops, to)
		}
	}
	return t.refused(), nil
}

func (t *table) refused() (all []netops.RefusedHop) {
	for to, hop := range t.now.Hops {
		if t.refuses[hop.Via] {
			all = append(all, netops.RefusedHop{Hop: hop.Via, To: to, Routes: 1, OffLink: true, Err: unix.ENETUNREACH})
		}
	}
	return all
}

// A bench has a keeper that runs, of node n1, in a bubble of virtual time.
type bench struct {
	t *testing.T
	*Keeper
	kernel *table
	tell   func(u any)
	routed atomic.Int64 // how often Routed was called

	mu     sync.Mutex
	config *config.Config
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, kernel: &table{refuses: map[netip.Addr]bool{}}, config: &config.Config{}}
	board := findings.New(func(findings.Finding, bool) {}, time.Now)
	b.Keeper = New(Options{Node: "n1", Kernel: b.kernel, Findings: board, Config: func() *config.Config {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.config
	}, Routed: func() { b.routed.Add(1) }})
	hooks := b.Hooks()
	b.tell = func(u any) {
		switch u := u.(type) {
		case kv.Update[record.Block]:
			hooks.Blocks[0](u)
		case kv.Update[record.Reservation]:
			hooks.Reservations[0](u)
		case kv.Update[record.Node]:
			hooks.Nodes[0](u)
		case *config.Config:
			b.mu.Lock()
			b.config = u
			b.mu.Unlock()
			hooks.ConfigChanged[0](nil, u)
		case nil:
			hooks.ResetLocked[0]()
		}
	}
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	t.Cleanup(func() { end(); running.Wait() })
	return b
}

// expect waits a while, and compares the routes.
func (b *bench) expect(what string, want ...string) {
	b.t.Helper()
	time.Sleep(10 * time.Millisecond)
	b.kernel.mu.Lock()
	defer b.kernel.mu.Unlock()
	var got []string
	for to, hop := range b.kernel.now.Hops {
		got = append(got, to.String()+" via "+hop.Via.String()+[...]string{netops.Tunnel: " tunnel", netops.Nearest: " nearest"}[hop.Way])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: the routes are %q, want %q", what, got, want)
	}
}

func (b *bench) expectFindings(what string, want ...string) {
	b.t.Helper()
	var got []string
	for _, f := range b.Findings.List() {
		got = append(got, f.Kind+" "+f.Subject)
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: the findings are %q, want %q", what, got, want)
	}
}

func pool(name string, mode allocator.Mode, cidrs ...string) allocator.Pool {
	p := allocator.Pool{Name: name, Mode: mode}
	for _, c := range cidrs {
		p.CIDRs = append(p.CIDRs, netip.MustParsePrefix(c))
	}
	return p.WithDefaults()
}

func configOf(revision int64, all ...allocator.Pool) *config.Config {
	c := &config.Config{Revision: revision, Pools: map[string]allocator.Pool{}}
	for _, p := range all {
		c.Pools[p.Name] = p
	}
	return c
}

// block is a record: parts are pairs of prefix and owner.
func block(pool, prefix string, parts ...string) record.Block {
	b := record.Block{Pool: pool, Prefix: netip.MustParsePrefix(prefix)}
	for i := 0; i < len(parts); i += 2 {
		b.Parts = append(b.Parts, record.Part{Prefix: netip.MustParsePrefix(parts[i]), Owner: parts[i+1]})
	}
	return b
}

func held(pool, address, node string) record.Reservation {
	r := record.Reservation{Pool: pool, Address: netip.MustParseAddr(address)}
	if node != "" {
		r.Holder = &record.Holder{Node: node}
	}
	return r
}

func nodeAt(name string, hops ...string) record.Node {
	n := record.Node{Name: name}
	for _, h := range hops {
		n.Hops = append(n.Hops, netip.MustParseAddr(h))
	}
	return n
}

func all[T any](records ...T) kv.Update[T]  { return kv.Update[T]{Full: true, Set: records} }
func some[T any](records ...T) kv.Update[T] { return kv.Update[T]{Set: records} }
func gone[T any](records ...T) kv.Update[T] { return kv.Update[T]{Gone: records} }

var threeNodes = all(nodeAt("n1", "192.0.2.1"), nodeAt("n2", "192.0.2.2", "2001:db8::2"), nodeAt("n3", "192.0.2.3", "2001:db8::3"))

// settled has a routed pool "r" and a flat one "f"; node n2 has a block of each, and a reservation.
func settled(t *testing.T) *bench {
	b := newBench(t)
	b.tell(configOf(5, pool("r", allocator.Routed, "10.50.0.0/16", "fd50::/64"), pool("f", allocator.Flat, "10.60.0.0/16")))
	b.tell(threeNodes)
	b.tell(all(block("r", "10.50.0.0/26", "10.50.0.0/27", "n2", "10.50.0.32/27", "n1"), block("f", "10.60.0.0/26", "10.60.0.0/26", "n2"),
		block("r", "10.50.9.0/26", "10.50.9.0/27", "stateful", "10.50.9.40/32", "machine")))
	b.tell(all(held("r", "10.50.9.1", "n2"), held("r", "10.50.9.2", "n1"), held("r", "10.50.9.3", ""), held("f", "10.60.9.1", "n2")))
	b.expect("settled", "10.50.0.0/27 via 192.0.2.2", "10.50.9.1/32 via 192.0.2.2")
	return b
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
