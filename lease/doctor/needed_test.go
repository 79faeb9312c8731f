package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/record"
)

// about is the finding of a kind about a key; it fails where there is none.
func (l *lab) about(key string, kind Kind) Finding {
	l.Helper()
	r := l.examine()
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Key == l.prefix+"/"+key && f.Kind == kind })
	if i < 0 {
		l.Fatalf("there is no %s of %s: %+v", kind, key, r.Findings)
	}
	return r.Findings[i]
}

// spaces lets a node allocate from parts of a pool besides those that it has.
func (l *lab) spaces(name, pool string, parts ...string) {
	l.says(name, func(a *record.NodeReport) {
		space := record.HeldSpace{Pool: pool, Family: "ipv4"}
		for _, p := range parts {
			space.Parts = append(space.Parts, netip.MustParsePrefix(p))
		}
		a.Spaces = append(slices.Clone(a.Spaces), space)
	})
}

func assigned(node, container string) string {
	return fmt.Sprintf(`{"attachment":{"network":"net","container":"%s","interface":"eth0"},"node":"%s"}`, container, node)
}

func owned(prefix, owner string) string {
	return fmt.Sprintf(`{"prefix":"%[1]s","parts":[{"prefix":"%[1]s","owner":"%[2]s"}]}`, prefix, owner)
}

// stays carries out what the doctor repairs by itself, and looks what has become of the key.
func (l *lab) stays(key string, want bool) {
	l.Helper()
	_, err := Fix(l.Context(), l.store, l.examine(), quick)
	l.check(err)
	if is := l.get(key) != ""; is != want {
		l.Errorf("after the repair %s is there: %v, want %v", key, is, want)
	}
}

func TestAnAssignmentIsDeletedOnlyWhereItsNodeSaysThatNobodyHasIt(t *testing.T) {
	const beyond, inside, free = "assignments/default/10.43.0.9", "assignments/default/10.42.64.9", "assignments/default/10.42.200.9"
	for name, c := range map[string]struct {
		key   string
		set   func(l *lab)
		kind  Kind
		says  string
		stays bool
	}{
		"outside of the pool, of nobody": {beyond, func(l *lab) { l.put(beyond, assigned("n1", "a")) }, AssignmentOutsidePool,
			"not in pool", false},
		"outside of the pool, in use": {beyond, func(l *lab) { l.has("n1", "a", "10.43.0.9") }, AssignmentOutsidePool,
			"berthctl delete net/a/eth0", true},
		"outside of the pool, of a node that has not said all": {beyond, func(l *lab) {
			l.put(beyond, assigned("n1", "a"))
			l.says("n1", func(a *record.NodeReport) { a.More = record.More{Attachments: 1} })
		}, AssignmentOutsidePool, "berthctl delete net/a/eth0", true},
		"of a pool that never was": {"assignments/nowhere/10.44.0.9", func(l *lab) {
			l.put("assignments/nowhere/10.44.0.9", assigned("n1", "a"))
		}, AssignmentOutsidePool, "there is no pool nowhere", false},
		"beside a reservation, of nobody": {"assignments/default/10.42.0.9", func(l *lab) {
			l.reserve("db-0", "10.42.0.9")
			l.put("assignments/default/10.42.0.9", assigned("n1", "a"))
		}, AssignmentReserved, "a reservation, too", false},
		"beside a reservation, in use": {"assignments/default/10.42.0.9", func(l *lab) {
			l.reserve("db-0", "10.42.0.9")
			l.has("n1", "a", "10.42.0.9")
		}, AssignmentReserved, "berthctl delete net/a/eth0", true},
		"of a node that never was": {inside, func(l *lab) { l.put(inside, assigned("ghost", "a")) }, AssignmentUnknownNode,
			"no node ghost", false},
		"of no container": {inside, func(l *lab) { l.put(inside, assigned("n1", "a")) },
			AssignmentNoContainer, "has no container", false},
		"of another container of the node": {inside, func(l *lab) {
			l.has("n1", "b", "10.42.64.9")
			l.put(inside, assigned("n1", "a"))
		}, AssignmentNoContainer, "to net/b/eth0", true}, // the node is asked to say it anew
		"in nobody's block": {free, func(l *lab) { l.has("n1", "a", "10.42.200.9") }, AssignmentNoPart, "in no part of node n1", true},
		"in another's block": {"assignments/default/10.42.64.70", func(l *lab) { l.has("n1", "a", "10.42.64.70") }, AssignmentNoPart,
			"it is n2's", true},
		"of the gateway itself": {"assignments/default/10.42.64.1", func(l *lab) { l.has("n1", "a", "10.42.64.1") }, AddressExcluded,
			"nobody gets it anew", true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c.set(l)
			if f := l.about(c.key, c.kind); !strings.Contains(f.Cause+f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
			l.stays(c.key, c.stays)
		})
	}
}

func TestABlockIsDeletedOnlyWhereNothingOfItIsInUse(t *testing.T) {
	const lost, beyond = "blocks/nowhere/10.43.0.0", "blocks/default/10.42.90.0"
	of := func(owner string, more ...func(l *lab)) func(l *lab) {
		return func(l *lab) {
			l.put(lost, owned("10.43.0.0/26", owner))
			for _, f := range more {
				f(l)
			}
		}
	}
	kept := func(more ...func(l *lab)) func(l *lab) {
		return func(l *lab) {
			l.put(beyond, owned("10.42.90.0/26", "stateful"))
			for _, f := range more {
				f(l)
			}
		}
	}
	for name, c := range map[string]struct {
		key   string
		set   func(l *lab)
		kind  Kind
		says  string
		stays bool
	}{
		"nobody uses it":   {lost, of("n1"), BlockNoPool, "there is no pool nowhere", false},
		"its node uses it": {lost, of("n1", func(l *lab) { l.spaces("n1", "nowhere", "10.43.0.0/27") }), BlockNoPool, "node n1 uses it", true},
		"its node uses what lies beside it": {lost, of("n1", func(l *lab) { l.spaces("n1", "nowhere", "10.43.0.64/26") }), BlockNoPool,
			"there is no pool nowhere", false},
		"its node uses such of another pool": {lost, of("n1", func(l *lab) { l.spaces("n1", "elsewhere", "10.43.0.0/26") }), BlockNoPool,
			"there is no pool nowhere", false},
		"somebody is assigned an address": {lost, of("n1", func(l *lab) {
			l.put("assignments/nowhere/10.43.0.9", assigned("n2", "a"))
			l.says("n2", func(a *record.NodeReport) { a.More = record.More{Attachments: 1} }) // which it may be
		}),
			BlockNoPool, "10.43.0.9 is assigned", true},
		"an address is reserved": {lost, of("n1", func(l *lab) { l.put("reservations/nowhere/10.43.0.9", holding("db-0", "n2", "a", 1)) }),
			BlockNoPool, "10.43.0.9 is reserved", true},
		"a container has an address": {lost, of("n1", func(l *lab) {
			l.has("n2", "a", "10.43.0.9", stateful("db-0", 1), func(h *record.HeldAttachment) { h.Pool = "nowhere" })
		}), BlockNoPool, "a container has address 10.43.0.9", true},
		"a container has such of another pool": {lost, of("n1", func(l *lab) {
			l.has("n2", "a", "10.43.0.9", stateful("db-0", 1))
		}), BlockNoPool, "there is no pool nowhere", false},
		"its node is away": {lost, of("n3", func(l *lab) {
			l.put("nodes/n3",
				`{"name":"n3","machine":"m","fencing":"evidence","session":"15s","addressLease":"1h"}`)
		}), BlockNoPool, "node n3 has not said", true},
		"its node was lost":     {lost, of("ghost"), BlockNoPool, "berthctl node remove ghost", true},
		"kept for reservations": {lost, of("stateful"), BlockNoPool, "there is no pool nowhere", false},
		"in no range":           {beyond, kept(), BlockNoRange, "no stateful range", false},
		"in no range, and reserved": {beyond, kept(func(l *lab) { l.put("reservations/default/10.42.90.9", holding("db-0", "n2", "a", 1)) }),
			BlockNoRange, "10.42.90.9 is reserved", true},
		"a node's, in a range": {"blocks/default/10.42.1.0", func(l *lab) { l.put("blocks/default/10.42.1.0", owned("10.42.1.0/26", "n1")) },
			PartInRange, "lies in a stateful range", true},
		"of a node that was removed": {"blocks/default/10.42.95.0", func(l *lab) {
			l.put("nodes/ghost", `{"name":"ghost","removed":"2026-01-01T00:00:00Z"}`)
			l.put("blocks/default/10.42.95.0", owned("10.42.95.0/26", "ghost"))
		}, PartRemovedNode, "was removed", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c.set(l)
			f := l.about(c.key, c.kind)
			if !strings.Contains(f.Cause+f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
			if strings.HasSuffix(c.says, "is reserved") && strings.Contains(f.Repair, "etcdctl") {
				t.Errorf("without the block a node claims it, and its containers lose to the members: it is told as %+v", f)
			}
			l.stays(c.key, c.stays)
		})
	}
}

func TestAnAddressOfANodeItselfIsTheNodesAsLongAsItIsThere(t *testing.T) {
	const key = "blocks/default/10.42.96.0"
	part := func(node string) string {
		return fmt.Sprintf(`{"prefix":"10.42.96.0/26","parts":[{"prefix":"10.42.96.9/32","owner":"machine","node":"%s"}]}`, node)
	}
	for name, c := range map[string]struct {
		node string
		set  func(l *lab)
		kind Kind // empty: nothing is wrong
		says string
	}{
		"of a node": {"n1", func(*lab) {}, "", ""},
		"that a container has": {"n1", func(l *lab) { l.has("n2", "a", "10.42.96.9", stateful("db-0", 1)) }, AddressTwice,
			"is an address of node n1 itself"},
		"of a node that never was": {"ghost", func(*lab) {}, PartUnknownNode, "berthctl node remove ghost"},
		"of a node that is removed": {"ghost", func(l *lab) {
			l.put("nodes/ghost", `{"name":"ghost","removed":"2026-01-01T00:00:00Z"}`)
		}, PartRemovedNode, "was removed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.put(key, part(c.node))
			c.set(l)
			if c.kind == "" {
				l.finds()
			} else if f := l.about(key, c.kind); f.Fix || !strings.Contains(f.Cause+f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
			l.stays(key, true)
		})
	}
}

// Allocators join parts that lie side by side, and split them: what counts is whose each address is.
func TestWhatANodeAllocatesFromIsItsOwnWhereBlocksSaySoOfAllOfIt(t *testing.T) {
	halves := func(second string) string {
		return fmt.Sprintf(`{"prefix":"10.42.80.0/26","parts":[{"prefix":"10.42.80.0/27","owner":"n1"},
			{"prefix":"10.42.80.32/27","owner":"%s"}]}`, second)
	}
	for name, c := range map[string]struct {
		second string // whose the second half of the block is
		next   string // whose the next block is; empty: there is none
		part   string
		says   string // empty: it is the node's own
	}{
		"a whole part":               {"n2", "", "10.42.80.0/27", ""},
		"a part of a part":           {"n2", "", "10.42.80.0/28", ""},
		"one address":                {"n2", "", "10.42.80.9/32", ""},
		"both halves":                {"n1", "", "10.42.80.0/26", ""},
		"a half that is another's":   {"n2", "", "10.42.80.0/26", "10.42.80.32/27 of n2"},
		"one address of another's":   {"n2", "", "10.42.80.40/32", "10.42.80.32/27 of n2"},
		"two blocks":                 {"n1", "n1", "10.42.80.0/25", ""},
		"two, and one is another's":  {"n1", "n2", "10.42.80.0/25", "by etcd it is"},
		"two, and one is nobody's":   {"n1", "", "10.42.80.0/25", "by etcd it is"},
		"a block that nobody has":    {"n1", "", "10.42.81.0/26", "etcd has no record"},
		"a half of one nobody has":   {"n1", "", "10.42.81.0/27", "etcd has no record"},
		"one address of such a one":  {"n1", "", "10.42.81.7/32", "etcd has no record"},
		"what is larger than blocks": {"n2", "n2", "10.42.80.0/25", "by etcd it is"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.put("blocks/default/10.42.80.0", halves(c.second))
			if c.next != "" {
				l.put("blocks/default/10.42.80.64", owned("10.42.80.64/26", c.next))
			}
			l.spaces("n1", "default", c.part)
			told := ""
			for _, f := range l.examine().Findings {
				if f.Kind == PartUnrecorded {
					told = f.Cause
					if f.Node != "n1" || !slices.Equal(f.ask, []string{"n1"}) {
						t.Errorf("it is told as %+v", f)
					}
				}
			}
			if (told == "") != (c.says == "") || !strings.Contains(told, c.says) {
				t.Errorf("it is told as %q, want %q", told, c.says)
			}
		})
	}
}
