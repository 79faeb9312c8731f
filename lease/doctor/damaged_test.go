package doctor

import (
	"slices"
	"strings"
	"testing"
)

// lacks fails where something of a kind is found.
func (l *lab) lacks(found []Finding, kinds ...Kind) {
	l.Helper()
	for _, f := range found {
		if slices.Contains(kinds, f.Kind) {
			l.Errorf("it is told as %+v", f)
		}
	}
}

// Who repaired by these findings would write over what can still be restored.
func TestNothingIsSaidToBeMissingWhoseRecordIsThereAndCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		key   string
		set   func(l *lab)
		kinds []Kind // that would be its symptoms
	}{
		"a container's assignment": {"assignments/default/10.42.64.9", func(l *lab) { l.has("n1", "a", "10.42.64.9") },
			[]Kind{ContainerUnassigned}},
		"a member's reservation": {"reservations/default/10.42.0.9", func(l *lab) {
			l.reserve("db-0", "10.42.0.9")
			l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
		}, []Kind{IdentityNoReservation, ContainerUnreserved}},
		"a member's reservation, where no record tells it": {"reservations/default/10.42.0.9", func(l *lab) {
			l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
		}, []Kind{ContainerUnreserved}},
		"the record of an identity": {identityOf0, func(l *lab) { l.reserve("db-0", "10.42.0.9") }, []Kind{ReservationNoIdentity}},
		"the pool of an assignment": {"config/pools/other", func(l *lab) { l.put("assignments/other/10.50.0.9", assigned("n1", "a")) },
			[]Kind{AssignmentOutsidePool}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c.set(l)
			l.put(c.key, "{")
			found := l.examine().Findings
			if len(found) == 0 || found[0].Kind != RecordUnreadable || !strings.HasSuffix(found[0].Key, c.key) {
				t.Errorf("first it says %+v", found)
			}
			l.lacks(found, c.kinds...)
		})
	}
}

func TestAMemberIsNotReservedAgainBesideTheDamagedRecordOfItsIdentity(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
	l.put(identityOf0, "{")
	f := l.about("reservations/default/10.42.0.9", ContainerUnreserved)
	if f.Fix || !strings.Contains(f.Repair, "first mend") && !strings.Contains(f.Repair, "first repair") {
		t.Errorf("it is told as %+v", f)
	}
}

func TestAMemberOfWhomEtcdHasNothingIsReservedAgainAsItsNodeHasIt(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(l *lab)
		says string // empty: it is reserved again
	}{
		"nothing else is there":   {func(*lab) {}, ""},
		"a node has not said all": {func(l *lab) { l.says("n2", notAll) }, "not every node has said"},
		"it may be another's":     {func(l *lab) { l.put("blocks/default/10.42.0.0", owned("10.42.0.0/26", "n1")) }, "may be somebody else's"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
			c.set(l)
			f := l.about("reservations/default/10.42.0.9", ContainerUnreserved)
			if f.Fix != (c.says == "") || !strings.Contains(f.Cause, "nor anything else is reserved") || c.says == "" && f.takes {
				t.Fatalf("it is told as %+v, want %q", f, c.says)
			}
			l.stays("reservations/default/10.42.0.9", c.says == "")
			l.stays(identityOf0, c.says == "")
			if got := l.get("reservations/default/10.42.0.9"); c.says == "" && !strings.Contains(got, `"node":"n1"`) {
				t.Errorf("it is reserved as %s", got)
			}
		})
	}
}

func TestARecordOfAnotherPoolDoesNotTellTheAddressOfAMember(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.0.9", stateful("db-0", 3))
	l.put(identityOf0, names("nowhere", "10.42.0.9"))
	if f := l.about("reservations/default/10.42.0.9", ContainerUnreserved); f.Fix {
		t.Errorf("it is told as %+v", f)
	}
}

func TestNoRecordIsMadeOfReservationsThatOneMemberCannotHaveTogether(t *testing.T) {
	for name, keys := range map[string][]string{
		"in two pools":                 {"default/10.42.0.9", "nowhere/fd00::9"},
		"two of a family, and another": {"default/10.42.0.9", "default/10.42.0.10", "default/fd00::9"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			for _, key := range keys {
				l.put("reservations/"+key, unheld("db-0"))
			}
			if f := l.about(identityOf0, ReservationSecond); f.Fix {
				t.Errorf("it is told as %+v", f)
			}
			l.stays(identityOf0, false)
		})
	}
}
