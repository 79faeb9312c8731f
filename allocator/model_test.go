package allocator

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model is a Space as one would write it without a thought for speed: every operation looks at every address.
type model struct {
	pool  Pool
	addrs map[netip.Addr]*modelAddr
	turn  int // raised whenever an address becomes free, so that equal times have an order
}

type modelAddr struct {
	addr          netip.Addr
	state, before string // free, released, quarantined, held
	since         Instant
	turn          int
	app           App
	probe         bool
}

func (m *model) set(a *modelAddr, state string) {
	m.turn++
	a.state, a.turn = state, m.turn
}

// in lists what is in a state and may be chosen, the one that has been so longest first.
func (m *model) in(state string) (all []*modelAddr) {
	for _, a := range m.addrs {
		if a.state == state && (m.pool.Usable(a.addr) || state == "held" || state == "quarantined") {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *modelAddr) int {
		if state == "free" {
			return cmp.Compare(a.turn, b.turn)
		}
		return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.turn, b.turn))
	})
	return all
}

func (m *model) counts() Counts {
	c := Counts{len(m.in("free")), len(m.in("released")), len(m.in("quarantined")), len(m.in("held")), 0}
	c.Excluded = len(m.addrs) - c.Free - c.Released - c.Quarantined - c.Held
	return c
}

func (m *model) settle(now Instant) {
	for _, a := range m.in("quarantined") {
		if a.since <= now {
			m.set(a, "released")
		}
	}
}

func (m *model) hold(a *modelAddr, from Source) Grant {
	a.before = a.state
	m.set(a, "held")
	return Grant{a.addr, from, a.probe}
}

func (m *model) take(app App, now Instant, cooling bool) (Grant, Outcome) {
	m.settle(now)
	old := m.in("released")
	own := slices.DeleteFunc(slices.Clone(old), func(a *modelAddr) bool { return a.app != app || app == App{} })
	if n := len(own); n > 0 && now-own[n-1].since < time.Duration(m.pool.Reuse) {
		return m.hold(own[n-1], Reused), Taken
	}
	if fresh := m.in("free"); len(fresh) > 0 {
		return m.hold(fresh[0], Fresh), Taken
	}
	if len(old) == 0 {
		return Grant{}, Exhausted
	}
	if now-old[0].since < time.Duration(m.pool.Cooldown) && !cooling {
		return Grant{}, Cooling
	}
	return m.hold(old[0], Fresh), Taken
}

func (m *model) takeAddress(addr netip.Addr) (Grant, error) {
	a := m.addrs[addr]
	switch {
	case a == nil:
		return Grant{}, ErrNotOwned
	case a.state == "held":
		return Grant{}, ErrHeld
	case a.state == "quarantined":
		return Grant{}, ErrQuarantined
	case !m.pool.Usable(addr):
		return Grant{}, ErrExcluded
	}
	return m.hold(a, Fresh), nil
}

func (m *model) holdAddress(addr netip.Addr) error {
	a := m.addrs[addr]
	if a == nil {
		return ErrNotOwned
	}
	if a.state != "held" {
		m.hold(a, Fresh)
	}
	return nil
}

func (m *model) release(addr netip.Addr, app App, now Instant, quarantine time.Duration) {
	m.settle(now)
	a := m.addrs[addr]
	if a == nil || a.state != "held" {
		return
	}
	a.app, a.since, a.probe = app, now+quarantine, false
	if quarantine > 0 {
		m.set(a, "quarantined")
	} else {
		m.set(a, "released")
	}
}

func (m *model) undo(addr netip.Addr) {
	a := m.addrs[addr]
	if a == nil || a.state != "held" {
		return
	}
	m.set(a, a.before)
	if a.state == "free" && m.pool.Usable(addr) {
		a.turn = -a.turn
	}
}

func (m *model) add(part netip.Prefix, probe bool) (added int) {
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		if m.addrs[a] == nil {
			m.addrs[a] = &modelAddr{addr: a, probe: probe}
			m.set(m.addrs[a], "free")
			added++
		}
	}
	return added
}

func (m *model) remove(part netip.Prefix) error {
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		if own := m.addrs[a]; own != nil && (own.state == "held" || own.state == "quarantined") {
			return ErrHeld
		}
	}
	m.drop(part)
	return nil
}

func (m *model) drop(part netip.Prefix) {
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		delete(m.addrs, a)
	}
}

// exclude makes r the pool's only exclusion. What becomes usable again comes after what is.
func (m *model) exclude(exclude []Range) {
	was := m.pool
	m.pool.Exclude = exclude
	for a := was.CIDRs[0].Addr(); was.Contains(a); a = a.Next() {
		if own := m.addrs[a]; own != nil && own.state != "held" && was.Usable(a) != m.pool.Usable(a) {
			m.set(own, own.state)
		}
	}
}

func (m *model) idle(now Instant) (parts []netip.Prefix) {
	m.settle(now)
	return slices.DeleteFunc(m.parts(), func(part netip.Prefix) bool {
		for _, a := range m.addrs {
			if part.Contains(a.addr) && m.busy(a, now) {
				return true
			}
		}
		return false
	})
}

// half tries every part of at most a block, the largest first.
func (m *model) half(now Instant, keep int) (netip.Prefix, bool) {
	m.settle(now)
	spare := len(m.in("free")) + len(m.in("released")) - keep
	if spare <= 0 {
		return netip.Prefix{}, false
	}
	f := FamilyOf(m.pool.CIDRs[0].Addr())
	for _, warm := range []bool{false, true} {
		for bits := m.pool.blockBits(f); bits <= addressBits(f); bits++ {
			for a := m.pool.CIDRs[0].Addr(); m.pool.Contains(a); a = a.Next() {
				part := netip.PrefixFrom(a, bits)
				if n, ok := m.spared(part, now, warm); part == part.Masked() && ok && n > 0 && (n == 1 || n <= spare/2) {
					m.drop(part)
					return part, true
				}
			}
		}
	}
	return netip.Prefix{}, false
}

// spared counts the usable addresses of a part, and reports whether all of it may be given.
func (m *model) spared(part netip.Prefix, now Instant, warm bool) (usable int, ok bool) {
	for a := part.Addr(); part.Contains(a); a = a.Next() {
		own := m.addrs[a]
		if own == nil || own.state == "held" || own.state == "quarantined" || !warm && m.busy(own, now) {
			return 0, false
		}
		if m.pool.Usable(a) {
			usable++
		}
	}
	return usable, true
}

func (m *model) busy(a *modelAddr, now Instant) bool {
	kept := m.pool.Cooldown
	if a.app != (App{}) {
		kept = max(m.pool.Reuse, kept)
	}
	return a.state == "held" || a.state == "quarantined" || a.state == "released" && now-a.since < time.Duration(kept)
}

func (m *model) rest() (Instant, bool) {
	if all := m.in("quarantined"); len(all) > 0 {
		return all[0].since, true
	}
	return 0, false
}

// parts are the prefixes that are owned as a whole, without those that lie in a larger one.
func (m *model) parts() (parts []netip.Prefix) {
	f := FamilyOf(m.pool.CIDRs[0].Addr())
	for bits := m.pool.blockBits(f); bits <= addressBits(f); bits++ {
		for a := range m.addrs {
			part := netip.PrefixFrom(a, bits)
			if part != part.Masked() || slices.ContainsFunc(parts, part.Overlaps) {
				continue
			}
			whole := true
			for b := a; part.Contains(b); b = b.Next() {
				whole = whole && m.addrs[b] != nil
			}
			if whole {
				parts = append(parts, part)
			}
		}
	}
	slices.SortFunc(parts, netip.Prefix.Compare)
	return parts
}

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
	return fmt.Sprintf("%s block %d+%d size %d app %v wait %v quarantine %v %v", s.op, s.block, s.at, s.size, s.app, s.wait, s.quarantine, s.flag)
}

var operations = []string{
	"take", "take", "take", "take", "release", "release", "release", "undo", "by name", "hold", "add", "remove", "drop", "configure", "idle", "half", "rest",
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
		{Name: "v4", CIDRs: []netip.Prefix{prefix("10.0.0.0/27")}, Gateways: []netip.Addr{addr("10.0.0.9")}, BlockSize: BlockSize{V4: 29}, Reuse: 10, Cooldown: 4},
		{Name: "v6", CIDRs: []netip.Prefix{prefix("fd00::ffe0/123")}, Gateways: []netip.Addr{addr("fd00::ffe9")}, BlockSize: BlockSize{V6: 125}, Reuse: 3, Cooldown: 6},
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
	a := Range{From: m.pool.CIDRs[0].Addr()}.unit(uint64(x.block*8+x.at), 0)
	part := netip.PrefixFrom(a, s.bits+x.size).Masked()
	switch x.op {
	case "take":
		g, outcome := s.Take(x.app, now, x.flag)
		g2, outcome2 := m.take(x.app, now, x.flag)
		return fmt.Sprint(g, outcome), fmt.Sprint(g2, outcome2)
	case "by name":
		s.Settle(now)
		m.settle(now)
		g, err := s.TakeAddress(a)
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
	for a := m.pool.CIDRs[0].Addr(); m.pool.Contains(a); a = a.Next() {
		own := m.addrs[a]
		if s.Owns(a) != (own != nil) || s.Holds(a) != (own != nil && own.state == "held") {
			t.Fatalf("%v: owned %v, held %v, want %+v", a, s.Owns(a), s.Holds(a), own)
		}
	}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}

// check is the invariant: each owned slot is in the one list of its kind, and in its app's if it is released; lists
// that go by time are in order; an app is known exactly while a slot was last its own.
func (s *Space) check() error {
	var errs []error
	apps := make([]int, len(s.apps.entries))
	for k, l := range s.lists {
		errs = append(errs, s.checkList(&l, byKind, func(t *slot) bool { return int(t.kind()) == k }, k == released || k == quarantined))
	}
	owned := 0
	for i := range s.slots {
		if s.slots[i].state != absent {
			owned++
			apps[s.slots[i].app]++
		}
	}
	for n := 1; n < len(apps); n++ {
		e := &s.apps.entries[n]
		if e.slots != apps[n] {
			errs = append(errs, fmt.Errorf("app %d counts %d slots of %d", n, e.slots, apps[n]))
		}
		if e.slots > 0 {
			errs = append(errs, s.checkList(&e.released, byApp, func(t *slot) bool { return t.kind() == released && int(t.app) == n }, true))
		}
	}
	total := 0
	for _, c := range s.chunks {
		total += c.owned
	}
	if total != owned || len(s.blocks)+len(s.spare) != len(s.chunks) {
		errs = append(errs, fmt.Errorf("chunks count %d addresses of %d", total, owned))
	}
	return errors.Join(errs...)
}

func (s *Space) checkList(l *list, by int, belongs func(*slot) bool, timed bool) error {
	want := 0
	for i := range s.slots {
		if s.slots[i].state != absent && belongs(&s.slots[i]) {
			want++
		}
	}
	n, prev := 0, none
	for i := l.head; i != none; i = s.slots[i].links[by].next {
		t := &s.slots[i]
		switch {
		case !belongs(t):
			return fmt.Errorf("slot %d is in a list of others", i)
		case t.links[by].prev != prev:
			return fmt.Errorf("slot %d does not point back to %d", i, prev)
		case timed && prev != none && s.slots[prev].since > t.since:
			return fmt.Errorf("slot %d is out of order", i)
		}
		n, prev = n+1, i
	}
	if n != want || l.len != n || l.tail != prev {
		return fmt.Errorf("a list of %d says %d, and %d belong in it", n, l.len, want)
	}
	return nil
}
