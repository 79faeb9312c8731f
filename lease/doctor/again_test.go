package doctor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/record"
)

const identityOf0 = "identities/net/ns/db/db-0/eth0"

func names(pool string, addresses ...string) string {
	return fmt.Sprintf(`{"pool":"%s","addresses":["%s"]}`, pool, strings.Join(addresses, `","`))
}

func unheld(member string) string {
	return fmt.Sprintf(`{"identity":{"namespace":"ns","app":"db","member":"%s","network":"net","interface":"eth0"},
		"since":"2026-01-01T00:00:00Z","epoch":3}`, member)
}

func notAll(a *record.NodeReport) { a.More = record.More{Attachments: 1} }

func TestAnAddressIsReservedAgainOnlyWhereNobodyElseCanHaveIt(t *testing.T) {
	const first = "10.42.0.9"
	for name, c := range map[string]struct {
		address string
		set     func(l *lab)
		says    string // empty: it is reserved again
	}{
		"nobody has it":            {first, func(*lab) {}, ""},
		"the member has it":        {first, func(l *lab) { l.has("n1", "a", first, stateful("db-0", 3)) }, ""},
		"its block is kept for it": {first, func(l *lab) { l.put("blocks/default/10.42.0.0", owned("10.42.0.0/26", "stateful")) }, ""},
		"another member has it":    {first, func(l *lab) { l.has("n1", "a", first, stateful("db-1", 3)) }, "is another container's"},
		"a stateless one has it": {first, func(l *lab) { l.has("n1", "a", first); l.del("assignments/default/" + first) },
			"is another container's"},
		"it is assigned": {first, func(l *lab) { l.put("assignments/default/"+first, assigned("n1", "a")) },
			"may be somebody else's"},
		"its assignment is damaged": {first, func(l *lab) { l.put("assignments/default/"+first, "{") }, "may be somebody else's"},
		"its block is a node's": {first, func(l *lab) { l.put("blocks/default/10.42.0.0", owned("10.42.0.0/26", "n1")) },
			"may be somebody else's"},
		"its block is damaged":    {first, func(l *lab) { l.put("blocks/default/10.42.0.0", "{") }, "first repair"},
		"it is not kept for any":  {"10.42.200.9", func(*lab) {}, "lies in no stateful range"},
		"a node has not said all": {first, func(l *lab) { l.says("n2", notAll) }, "not every node has said"},
		"two have it": {first, func(l *lab) {
			l.has("n1", "a", first, stateful("db-0", 3))
			l.has("n2", "b", first, stateful("db-0", 4))
		}, "is another container's"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.put(identityOf0, names("default", c.address))
			c.set(l)
			f := l.about(identityOf0, IdentityNoReservation)
			if f.Fix != (c.says == "") || !strings.Contains(f.Repair, c.says) {
				t.Fatalf("it is told as %+v, want %q", f, c.says)
			}
			if c.says == "" {
				l.stays("reservations/default/"+c.address, true)
				l.stays("blocks/default/10.42.0.0", true)
			}
		})
	}
}

func TestAnAddressOfAPoolThatIsNotThereIsNotReservedAgain(t *testing.T) {
	l := newLab(t)
	l.put(identityOf0, names("nowhere", "10.42.0.9"))
	if f := l.about(identityOf0, IdentityNoReservation); f.Fix || !strings.Contains(f.Repair, "lies in no stateful range") {
		t.Errorf("it is told as %+v", f)
	}
}

func TestTheRecordOfAnIdentityIsGivenUpOnlyWhereNoContainerOfItRuns(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(l *lab)
		says string
	}{
		"none runs": {func(*lab) {}, "etcdctl del"},
		"one runs":  {func(l *lab) { l.has("n1", "a", "10.42.0.77", stateful("db-0", 3)) }, "start the agents that are away"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.put(identityOf0, names("default", "10.42.200.9"))
			c.set(l)
			if f := l.about(identityOf0, IdentityNoReservation); f.Fix || !strings.Contains(f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
		})
	}
}

func TestASecondReservationIsDeletedOnlyWhereNoContainerCanHaveIt(t *testing.T) {
	const first, second = "reservations/default/10.42.0.9", "reservations/default/10.42.0.10"
	for name, c := range map[string]struct {
		key   string
		set   func(l *lab)
		says  string
		stays bool
	}{
		"none runs": {second, func(l *lab) { l.put(second, unheld("db-0")) }, "by its record, and this besides", false},
		"in another pool": {"reservations/nowhere/10.42.0.9", func(l *lab) { l.put("reservations/nowhere/10.42.0.9", unheld("db-0")) },
			"this besides", false},
		"a container of it runs": {second, func(l *lab) {
			l.put(second, unheld("db-0"))
			l.put(first, holding("db-0", "n1", "a", 3))
			l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
		}, "may have it, or not every node", true},
		"a node has not said all": {second, func(l *lab) {
			l.put(second, unheld("db-0"))
			l.says("n2", notAll)
		}, "may have it, or not every node", true},
		"a container has it": {second, func(l *lab) {
			l.put(second, holding("db-0", "n1", "a", 3))
			l.has("n1", "a", "10.42.0.10", stateful("db-0", 3))
		}, "a container has it: end that", true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.reserve("db-0", "10.42.0.9")
			c.set(l)
			if f := l.about(c.key, ReservationSecond); f.Fix == c.stays || !strings.Contains(f.Cause+f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
			l.stays(c.key, c.stays)
			l.stays(first, true)
		})
	}
}

// No record says which of them is the member's own.
func TestOfSeveralReservationsOfOneMemberTheAdviceLeavesThoseThatContainersHave(t *testing.T) {
	const first, second = "reservations/default/10.42.0.9", "reservations/default/10.42.0.10"
	for name, c := range map[string]struct {
		set   func(l *lab)
		goes  string // empty: none
		stays string
	}{
		"none has one": {func(*lab) {}, first, second},
		"one has the second": {func(l *lab) {
			l.put(second, holding("db-0", "n1", "a", 3))
			l.has("n1", "a", "10.42.0.10", stateful("db-0", 3))
		}, first, second},
		"by its journal alone":            {func(l *lab) { l.has("n1", "a", "10.42.0.10", stateful("db-0", 2)) }, first, second},
		"by etcd alone":                   {func(l *lab) { l.put(second, holding("db-0", "n1", "a", 3)) }, first, second},
		"the first, by its journal alone": {func(l *lab) { l.has("n1", "a", "10.42.0.9", stateful("db-0", 2)) }, second, first},
		"the first, by etcd alone":        {func(l *lab) { l.put(first, holding("db-0", "n1", "a", 3)) }, second, first},
		"a node has not said all":         {func(l *lab) { l.says("n2", notAll) }, "", first},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.put(first, unheld("db-0"))
			l.put(second, unheld("db-0"))
			c.set(l)
			f := l.about(identityOf0, ReservationSecond)
			if f.Fix || strings.Contains(f.Repair, "/"+c.stays+"'") || c.goes != "" && !strings.Contains(f.Repair, "/"+c.goes+"'") ||
				c.goes == "" && strings.Contains(f.Repair, "etcdctl del") {
				t.Errorf("it is told as %+v: want that %s goes", f, c.goes)
			}
		})
	}
}

func TestAnIdentityWhoseAddressIsAnothersHasWhatItHasItself(t *testing.T) {
	for name, c := range map[string]struct {
		own   []string
		after string // what its record says then; empty: it is gone
		says  string // empty: it is repaired
	}{
		"nothing":           {nil, "", ""},
		"one":               {[]string{"10.42.0.10"}, "10.42.0.10", ""},
		"two of one family": {[]string{"10.42.0.10", "10.42.0.11"}, "10.42.0.9", "decide which it keeps"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.reserve("db-1", "10.42.0.9")
			for _, a := range c.own {
				l.put("reservations/default/"+a, unheld("db-0"))
			}
			l.put(identityOf0, names("default", "10.42.0.9"))
			if f := l.about(identityOf0, IdentityElsewhere); f.Fix != (c.says == "") || !strings.Contains(f.Repair, c.says) {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
			l.stays(identityOf0, c.after != "")
			if got := l.get(identityOf0); !strings.Contains(got, c.after) {
				t.Errorf("its record is %s, want %s", got, c.after)
			}
			if got := l.get("reservations/default/10.42.0.9"); !strings.Contains(got, "db-1") {
				t.Errorf("db-1 has %s", got)
			}
		})
	}
}

func TestAContainerIsGivenBackOnlyWhatNobodyHasSince(t *testing.T) {
	const key = "reservations/default/10.42.0.9"
	for name, c := range map[string]struct {
		set    func(l *lab)
		says   string
		writes bool // etcd attaches the container itself
		asks   bool
	}{
		"attached to nobody": {func(*lab) {}, "attaches ns/db/db-0", true, false},
		"attached to nobody, by a later epoch": {func(l *lab) { l.put(key, strings.Replace(unheld("db-0"), `"epoch":3`, `"epoch":9`, 1)) },
			"another container had or has it", false, true},
		"attached to another node's": {func(l *lab) { l.put(key, holding("db-0", "n2", "a", 9)) },
			"another container had or has it", false, true},
		"attached to another of the node's": {func(l *lab) { l.put(key, holding("db-0", "n1", "b", 9)) },
			"another container had or has it", false, true},
		"reserved for another": {func(l *lab) { l.put(key, unheld("db-1")) }, "which is reserved for", false, false},
		"not reserved, and its record has another": {func(l *lab) {
			l.del(key)
			l.put("reservations/default/10.42.0.10", unheld("db-0"))
			l.put(identityOf0, names("default", "10.42.0.10"))
		}, "is not reserved", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.reserve("db-0", "10.42.0.9")
			l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
			c.set(l)
			f := l.about(key, ContainerUnreserved)
			if !strings.Contains(f.Cause, c.says) || (f.repair != nil) != c.writes || (len(f.ask) > 0) != c.asks || f.Node != "n1" {
				t.Errorf("it is told as %+v, want %q", f, c.says)
			}
		})
	}
}
