package update

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
)

// A container that was made before a change may lack it: it is not said to have it because the journal does not know.
func TestWhatAContainerWasGivenIsKnownOnlyWhereTheWholeHistorySaysSo(t *testing.T) {
	pool := func(name, domain string) allocator.Pool {
		return allocator.Pool{Name: name, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}, DNS: allocator.DNS{Domain: domain}}
	}
	change := func(number, revision int64, pools ...allocator.Pool) record.HistoryEntry {
		return record.HistoryEntry{Number: number, Revision: revision, After: record.Objects{Pools: pools}}
	}
	type history []record.HistoryEntry
	for name, c := range map[string]struct {
		role    string
		since   int64 // the revision of the entry
		history history
		want    string // the domain; "?": it is unknown
	}{
		"it has had the same ever since": {wire.Interface, 5,
			history{change(1, 3, pool("p", "a")), change(2, 7, pool("p", "a"))}, "a"},
		"it has changed since": {wire.IPAM, 3,
			history{change(1, 3, pool("p", "a")), change(2, 7, pool("p", "b"))}, "?"},
		"it has changed before": {wire.IPAM, 7,
			history{change(1, 3, pool("p", "a")), change(2, 7, pool("p", "b"))}, "b"},
		"it has changed, and a roll-out has written the entry since": {wire.Interface, 9,
			history{change(1, 3, pool("p", "a")), change(2, 7, pool("p", "b"))}, "?"},
		"another pool has changed": {wire.Interface, 3,
			history{change(1, 3, pool("p", "a")), change(2, 7, pool("q", "b"))}, "a"},
		"the beginning is gone": {wire.Interface, 7, history{change(2, 7, pool("p", "a"))}, "?"},
		"a change in the middle is gone": {wire.Interface, 3,
			history{change(1, 3, pool("p", "a")), change(3, 9, pool("p", "a"))}, "?"},
		"nothing says anything of it":      {wire.IPAM, 3, nil, "?"},
		"only of another pool is it known": {wire.IPAM, 3, history{change(1, 3, pool("q", "a"))}, "?"},
	} {
		given := recall(c.history, &journal.Entry{Pool: "p", Role: c.role, Revision: c.since})
		if given == nil || given.Unknown != (c.want == "?") || !given.Unknown && given.DNS.Domain != c.want {
			t.Errorf("%s: %+v, want %s", name, given, c.want)
		}
	}
}

func TestAContainerThatWasMadeForAnotherModeMustBeMadeAnew(t *testing.T) {
	flat := &allocator.Pool{Name: "p", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}}
	routed := &allocator.Pool{Name: "p", CIDRs: flat.CIDRs, Mode: allocator.Routed}
	addresses := []netip.Addr{netip.MustParseAddr("10.42.0.7")}
	for _, e := range []*journal.Entry{
		{Role: wire.Interface, Addresses: addresses, Given: &journal.Given{}, Wiring: journal.Wiring{Port: "bth1", Bridge: "berth0"}},
		{Role: wire.Interface, Addresses: addresses, Given: &journal.Given{}, Wiring: journal.Wiring{Port: "bth1", Routed: true}},
	} {
		own, other := flat, routed
		if e.Wiring.Routed {
			own, other = routed, flat
		}
		if reason := lacks(e, own); reason != "" {
			t.Errorf("routed %v: in its own mode %q", e.Wiring.Routed, reason)
		}
		if reason := lacks(e, other); !strings.Contains(reason, "another mode") {
			t.Errorf("routed %v: in the other mode %q", e.Wiring.Routed, reason)
		}
	}
}

func TestAContainerWithoutAnAddressOfAFamilyThatItsPoolGivesMustBeMadeAnew(t *testing.T) {
	pool := &allocator.Pool{Name: "p", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42::/64")}}
	e := &journal.Entry{Role: wire.Interface, Addresses: []netip.Addr{netip.MustParseAddr("10.42.0.7")}, Given: &journal.Given{}}
	if reason := lacks(e, pool); !strings.Contains(reason, "it has no v6 address") || !strings.Contains(reason, "made anew") {
		t.Errorf("the reason is %q", reason)
	}
	pool.DrainingCIDRs = pool.CIDRs[1:]
	if reason := lacks(e, pool); reason != "" {
		t.Errorf("of a family that is being drained: %q", reason)
	}
	e.Addresses = append(e.Addresses, netip.MustParseAddr("fd42::7"))
	if pool.CIDRs, pool.DrainingCIDRs = pool.CIDRs[:1], nil; lacks(e, pool) != "" {
		t.Errorf("one that has more than its pool gives: %q", lacks(e, pool))
	}
}

func TestAContainerOfAnotherPluginKeepsItsPrefixLengthAndMustBeMadeAnew(t *testing.T) {
	pool := &allocator.Pool{Name: "p", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.1.0/24")}}
	e := &journal.Entry{Role: wire.IPAM, Addresses: []netip.Addr{netip.MustParseAddr("10.42.1.7")}}
	e.Given = Given(e, pool)
	if reason := lacks(e, pool); reason != "" || !recorded(e) {
		t.Errorf("before: %q, recorded %v", reason, recorded(e))
	}
	pool.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.42.0.0/23")}
	if reason := lacks(e, pool); !strings.Contains(reason, "it lacks the present prefix lengths") {
		t.Errorf("the reason is %q", reason)
	}
	e.Given.Prefixes = nil // as a former release has written it
	if recorded(e) {
		t.Error("what a former release did not record counts as recorded")
	}
}
