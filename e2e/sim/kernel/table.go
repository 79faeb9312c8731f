package kernel

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/netops"
)

var classes = [...]string{"stateless", "stateful"}

const slots = 2

// A table is the fence's as the host's kernel has it. The zero table does not exist.
type table struct {
	exists  bool
	strict  bool
	members map[string]netops.Member
	timers  [len(classes)][slots]time.Time // when the kernel takes a slot's timer out
	locks   [len(classes)][slots]bool
	apart   []netops.Range
}

// build makes what is missing, and the mode's rules.
func (t *table) build(strict bool) {
	if !t.exists {
		*t = table{exists: true, members: map[string]netops.Member{}}
	}
	t.strict = strict
}

// passes reports whether the frames of a link pass.
func (t *table) passes(port string, now time.Time) bool {
	if !t.exists || !strings.HasPrefix(port, netops.Prefix) {
		return true
	}
	class := slices.Index(classes[:], t.members[port].Class)
	if class < 0 || !t.strict {
		return class >= 0
	}
	return slices.Max(t.open(class, now)) > 0
}

// sends reports whether a link's frames pass that come from a MAC and an address.
func (t *table) sends(port string, mac net.HardwareAddr, from netip.Addr, now time.Time) bool {
	m, is := t.members[port]
	own := m.Trusted || slices.Equal(m.MAC, mac) && slices.Contains(m.Addresses, from)
	return t.passes(port, now) && (own || !is)
}

// open is how long each slot of a class is still open.
func (t *table) open(class int, now time.Time) []time.Duration {
	left := make([]time.Duration, slots)
	for s := range slots {
		if t.locks[class][s] {
			left[s] = max(t.timers[class][s].Sub(now), 0)
		}
	}
	return left
}

// postpone has all timers end later.
func (t *table) postpone(d time.Duration) {
	for class := range classes {
		for s := range slots {
			if !t.timers[class][s].IsZero() {
				t.timers[class][s] = t.timers[class][s].Add(d)
			}
		}
	}
}

// hold keeps exactly these members.
func (t *table) hold(members map[string]netops.Member) { t.members = maps.Clone(members) }

// plan has the LAN told when the next slot closes by itself.
func (h *Host) plan() {
	if h.expiry != nil {
		h.expiry.Stop()
		h.expiry = nil
	}
	now, next := time.Now(), time.Duration(0)
	for class := range classes {
		for _, left := range h.nft.open(class, now) {
			if left > 0 && (next == 0 || left < next) {
				next = left
			}
		}
	}
	if next > 0 {
		h.expiry = time.AfterFunc(next, func() { h.lan.change(func() { h.lan.changed = true; h.plan() }) })
	}
}
