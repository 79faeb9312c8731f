package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A hold is a container that was seen with an address, from its first answer to its last.
type hold struct {
	mac       MAC
	life      *life // nil: a stranger
	sightings []Sighting
}

// unique finds addresses that two had at once: the first answered before the second did, and again after. The
// instants are known only from a request to its answer, so they count where those do not overlap.
func (x *index) unique() (violations []Violation) {
	for address := range x.seen {
		holds := x.holds(address)
		for i, older := range holds {
			for _, newer := range holds[i+1:] {
				if v, twice := x.overlap(address, older, newer); twice {
					violations = append(violations, v)
				}
			}
		}
	}
	slices.SortFunc(violations, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return violations
}

// holds are those of an address, in the order of their first sightings. A container that is deleted and added again
// has one for each of its lives.
func (x *index) holds(address netip.Addr) (all []*hold) {
	last := map[MAC]*hold{}
	for _, s := range x.seen[address] {
		h := last[s.MAC]
		if h == nil || h.life.begunAnew(h.sightings[len(h.sightings)-1].At, s.At) {
			h = &hold{mac: s.MAC, life: x.owner[s.MAC]}
			last[s.MAC] = h
			all = append(all, h)
		}
		h.sightings = append(h.sightings, s)
	}
	return all
}

// begunAnew reports whether an ADD that followed a DEL began in between.
func (l *life) begunAnew(from, to time.Duration) bool {
	return l != nil && slices.ContainsFunc(l.adds, func(o Operation) bool {
		return o.Begin >= from && o.Begin <= to && l.deleted < o.Begin
	})
}

// overlap finds out whether the older holder answers after the newer one has, where nothing excuses it.
func (x *index) overlap(address netip.Addr, older, newer *hold) (v Violation, twice bool) {
	first := older.sightings[0]
	var between Sighting
	var begin, end time.Duration
	next, times := 0, 0
	for _, s := range older.sightings {
		for next < len(newer.sightings) && newer.sightings[next].At <= s.Sent {
			between, next = newer.sightings[next], next+1
		}
		if next == 0 || between.Sent < first.At {
			continue
		}
		if x.excused(older, s, newer.sightings[0]) || x.excused(newer, between, first) {
			continue
		}
		if times++; times == 1 {
			begin = newer.sightings[0].At
		}
		end = s.At
	}
	if times == 0 {
		return v, false
	}
	v = Violation{Rule: Unique, Address: address, At: begin}
	var lives []*life
	for _, h := range []*hold{older, newer} {
		if h.life != nil {
			lives = append(lives, h.life)
			v.Containers, v.Member = append(v.Containers, h.life.container), h.life.member
		}
	}
	v.What = fmt.Sprintf("%v is live twice: %v, which had it first, still answers, %d times until %s; %v has answered since %s",
		address, older, times, clock(end), newer, clock(begin))
	v.Evidence = x.evidence(end, lives...)
	return v, true
}

func (h *hold) String() string {
	if h.life == nil {
		return fmt.Sprintf("a stranger with MAC %x", h.mac)
	}
	return h.life.String()
}

// excused reports whether evidence mode allows that a holder is seen in s although another has had the address since
// first.
func (x *index) excused(h *hold, s Sighting, first Sighting) bool {
	return !x.rules.Strict && h.life != nil && slices.ContainsFunc(x.losing(h.life.node, h.life.class()), func(l span) bool {
		return first.At >= l.from && s.Sent <= l.to
	})
}
