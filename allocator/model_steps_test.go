package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A step is one operation with what it may need; each operation takes what it understands.
type step struct {
	op         string
	block, at  int // the address
	size       int // of a part: 0 is a block
	app        App
	wait       Instant
	quarantine time.Duration
	flag       bool // cooling, probe
}

func (s step) String() string {
	return fmt.Sprintf("%s block %d+%d size %d app %v wait %v quarantine %v %v", s.op, s.block, s.at, s.size, s.app, s.wait, s.quarantine,
		s.flag)
}

var operations = []string{
	"take", "take", "take", "take", "release", "release", "release", "undo", "by name", "hold", "add", "remove", "drop", "configure", "idle",
	"half", "rest",
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		op:    rapid.SampledFrom(operations).Draw(t, "op"),
		block: rapid.IntRange(0, 3).Draw(t, "block"), at: rapid.IntRange(0, 7).Draw(t, "at"), size: rapid.IntRange(0, 3).Draw(t, "size"),
		app:        rapid.SampledFrom([]App{{}, {"a", "a"}, {"a", "b"}, {"b", "a"}}).Draw(t, "app"),
		wait:       rapid.SampledFrom([]Instant{0, 0, 1, 2, 5, 20}).Draw(t, "wait"),
		quarantine: rapid.SampledFrom([]time.Duration{0, 0, 2, 2, 7}).Draw(t, "quarantine"),
		flag:       rapid.Bool().Draw(t, "flag"),
	}
})

func TestASpaceAgreesWithItsModel(t *testing.T) {
	for _, p := range []Pool{
		{Name: "v4", CIDRs: []netip.Prefix{prefix("10.0.0.0/27")}, Gateways: []netip.Addr{addr("10.0.0.9")}, BlockSize: BlockSize{V4: 29},
			Reuse: 10, Cooldown: 4},
		{Name: "v6", CIDRs: []netip.Prefix{prefix("fd00::ffe0/123")}, Gateways: []netip.Addr{addr("fd00::ffe9")}, BlockSize: BlockSize{V6: 125},
			Reuse: 3, Cooldown: 6},
		{Name: "several", CIDRs: []netip.Prefix{prefix("10.0.0.0/28"), prefix("10.0.1.0/29"), prefix("10.0.1.8/29")},
			Gateways: []netip.Addr{addr("10.0.0.9"), addr("10.0.1.9")}, BlockSize: BlockSize{V4: 29}, Reuse: 10, Cooldown: 4},
		{Name: "routed", Mode: Routed, CIDRs: []netip.Prefix{prefix("10.0.0.0/27")}, BlockSize: BlockSize{V4: 29}, Reuse: 10, Cooldown: 4},
	} {
		t.Run(p.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s, m := NewSpace(&p, p.Families()[0]), &model{pool: p, addrs: map[netip.Addr]*modelAddr{}}
				now := Instant(0)
				n := rapid.SampledFrom([]int{10, 100, 500}).Draw(t, "number of steps") // left alone, rapid takes few
				for _, step := range rapid.SliceOfN(steps, n, n).Draw(t, "steps") {
					now += step.wait
					got, want := step.do(s, m, now)
					if got != want {
						t.Fatalf("%v at %d gives %v, want %v", step, now, got, want)
					}
					compare(t, s, m)
				}
			})
		})
	}
}

// do does the step on both and tells what each answered.
func (x step) do(s *Space, m *model, now Instant) (got, want string) {
	f := s.family
	a := slices.Collect(addresses(&m.pool))[x.block*8+x.at]
	part := netip.PrefixFrom(a, s.bits+x.size).Masked()
	switch x.op {
	case "take":
		g, outcome := s.Allocate(x.app, now, x.flag)
		g2, outcome2 := m.take(x.app, now, x.flag)
		return fmt.Sprint(g, outcome), fmt.Sprint(g2, outcome2)
	case "by name":
		s.Settle(now)
		m.settle(now)
		g, err := s.AllocateAddress(a)
		g2, err2 := m.takeAddress(a)
		return fmt.Sprint(g, err), fmt.Sprint(g2, err2)
	case "release":
		s.Release(a, x.app, now, x.quarantine)
		m.release(a, x.app, now, x.quarantine)
	case "undo":
		s.Undo(a)
		m.undo(a)
	case "hold":
		return fmt.Sprint(s.Hold(a)), fmt.Sprint(m.holdAddress(a))
	case "add":
		return fmt.Sprint(s.Add(part, x.flag)), fmt.Sprint(m.add(part, x.flag))
	case "remove":
		return fmt.Sprint(s.Remove(part)), fmt.Sprint(m.remove(part))
	case "drop":
		s.Drop(part)
		m.drop(part)
	case "configure":
		var exclude []Range
		if x.flag {
			exclude = []Range{rangeOf(netip.PrefixFrom(a, addressBits(f)-3+x.size).Masked())}
		}
		m.exclude(exclude)
		s.Configure(&m.pool)
	case "idle":
		return fmt.Sprint(s.Idle(now)), fmt.Sprint(m.idle(now))
	case "half":
		if x.flag {
			block := m.pool.BlockOf(a)
			return fmt.Sprint(s.Half(now, x.size, block)), fmt.Sprint(m.half(now, x.size, block))
		}
		return fmt.Sprint(s.Half(now, x.size)), fmt.Sprint(m.half(now, x.size))
	case "rest":
		return fmt.Sprint(s.Rest()), fmt.Sprint(m.rest())
	}
	return "", ""
}

func compare(t *rapid.T, s *Space, m *model) {
	if s.Counts() != m.counts() {
		t.Fatalf("counts are %+v, want %+v", s.Counts(), m.counts())
	}
	if got, want := s.Parts(), m.parts(); !slices.Equal(got, want) {
		t.Fatalf("parts are %v, want %v", got, want)
	}
	for a := range addresses(&m.pool) {
		own := m.addrs[a]
		if s.Owns(a) != (own != nil) || s.Holds(a) != (own != nil && own.state == "held") {
			t.Fatalf("%v: owned %v, held %v, want %+v", a, s.Owns(a), s.Holds(a), own)
		}
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}
