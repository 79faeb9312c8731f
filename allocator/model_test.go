package allocator

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
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
	for a := range addresses(&was) {
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
func (m *model) half(now Instant, keep int, besides ...netip.Prefix) (netip.Prefix, bool) {
	m.settle(now)
	spare := len(m.in("free")) + len(m.in("released")) - keep
	if spare <= 0 {
		return netip.Prefix{}, false
	}
	f := FamilyOf(m.pool.CIDRs[0].Addr())
	for _, warm := range []bool{false, true} {
		for bits := m.pool.blockBits(f); bits <= addressBits(f); bits++ {
			for a := range addresses(&m.pool) {
				part := netip.PrefixFrom(a, bits)
				if n, ok := m.spared(part, now, warm); part == part.Masked() && !slices.ContainsFunc(besides, part.Overlaps) && ok && n > 0 &&
					(n == 1 || n <= spare/2) {
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
	return a.state == "held" || a.state == "quarantined" ||
		a.state == "released" && m.pool.Usable(a.addr) && now-a.since < time.Duration(kept)
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
