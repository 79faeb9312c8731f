package doctor

import (
	"slices"
	"strings"
	"testing"
)

func TestADeletedEntryOfTheHistoryIsPutBack(t *testing.T) {
	l := newLab(t)
	l.fence("strict")
	l.fence("evidence")
	before, err := l.store.Config.History(t.Context())
	l.check(err)
	l.del("config/history/2")
	l.del("config/history/1")
	if f := l.finds(RecordUnreadable, RecordUnreadable)[0]; !f.Fix || !strings.Contains(f.Repair, "etcdctl put") {
		t.Errorf("it is told as %+v", f)
	}
	l.fixes()
	after, err := l.store.Config.History(t.Context())
	l.check(err)
	for i := range before {
		if i >= len(after) || before[i].Revision != after[i].Revision || before[i].Message != after[i].Message {
			t.Fatalf("the history was %+v and has become %+v", before, after)
		}
	}
}

// What etcd has compacted is told as lost, and then nobody is advised to end who lives in a pool that may have been deleted.
func TestWhileTheHistoryIsLostWhatLiesInAMissingPoolIsNotToBeEnded(t *testing.T) {
	l := newLabApart(t)
	l.reserve("db-0", "10.42.0.9")
	l.has("n1", "a", "10.42.64.9")
	stray := strings.ReplaceAll(l.get("config/pools/default"), `"default"`, `"stray"`)
	l.del("config/history/1")
	l.del("config/pools/default")
	l.put("config/pools/stray", stray)
	l.forget()
	found := l.examine().Findings
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.Note && strings.HasSuffix(f.Key, "config/history/1") }) {
		t.Errorf("nothing tells that the history is lost: %+v", found)
	}
	for _, f := range found {
		for _, word := range []string{"release", "berthctl delete", "etcdctl del", "node remove"} {
			if strings.Contains(f.Repair, word) {
				t.Errorf("for %s %s it advises %q", f.Kind, f.where(), f.Repair)
			}
		}
		if f.takes && f.repair != nil {
			t.Errorf("it would repair %+v", f)
		}
	}
}

func TestAContainerWithoutReservationIsToldOfBesideItsIdentityThatCannotBeRead(t *testing.T) {
	l := newLab(t)
	l.reserve("db-0", "10.42.0.9")
	l.has("n1", "m", "10.42.0.9", stateful("db-0", 3))
	l.put("identities/net/ns/db/db-0/eth0", "{")
	l.del("reservations/default/10.42.0.9")
	l.finds(RecordUnreadable, ContainerUnreserved)
	l.fixes()
}

func TestSeveralNodesThatNeverWereDoNotWaitForEachOther(t *testing.T) {
	l := newLab(t)
	l.put("nodes/ghost1", "{}")
	l.put("nodes/ghost2", `{"name":"zz"}`)
	l.finds(RecordUnreadable, RecordUnreadable)
	l.fixes()
}
