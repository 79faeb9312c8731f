package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func isolated(h *record.HeldAttachment) { h.Isolated = "another has it" }

func stateful(member string, epoch int64) func(*record.HeldAttachment) {
	return func(h *record.HeldAttachment) {
		h.Class, h.App, h.Member, h.Epoch = allocator.Stateful, allocator.App{Namespace: "ns", Name: "db"}, member, epoch
	}
}

// reserve reserves an address for a member of ns/db.
func (l *lab) reserve(member, address string) {
	l.Helper()
	id := allocator.Identity{Namespace: "ns", App: "db", Member: member, Network: "net", Interface: "eth0"}
	_, err := l.store.Reservations.ReserveFor(l.Context(), l.config.Pools["default"], l.config.PoolRevisions["default"], id,
		[]netip.Addr{netip.MustParseAddr(address)})
	l.check(err)
}

func holding(member, node, container string, epoch int) string {
	return fmt.Sprintf(`{"identity":{"namespace":"ns","app":"db","member":"%s","network":"net","interface":"eth0"},"since":"2026-01-01T00:00:00Z","epoch":%d,
		"holder":{"attachment":{"network":"net","container":"%s","interface":"eth0"},"node":"%s","since":"2026-01-01T00:00:00Z"}}`, member, epoch, container, node)
}

func TestAHealthyClusterHasNoFinding(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.64.9")
	l.reserve("db-0", "10.42.0.9")
	l.put("reservations/default/10.42.0.9", holding("db-0", "n2", "b", 3))
	l.has("n2", "b", "10.42.0.9", stateful("db-0", 3))
	l.has("n2", "ipam", "10.42.64.70", func(h *record.HeldAttachment) { h.Role, h.Port = "ipam", "" })
	l.says("n2", func(a *record.NodeReport) { a.Ports = a.Ports[:1] })
	r := l.examine()
	l.finds()
	if !slices.Equal(r.Answered, []string{"n1", "n2"}) || r.Left() != 0 {
		t.Errorf("the report is %+v", r)
	}
}

func TestAnAddressThatTwoContainersHaveIsFound(t *testing.T) {
	l := newLab(t)
	l.has("n2", "b", "10.42.64.9")
	l.has("n1", "a", "10.42.64.9") // the last one to be published
	found := l.finds(AddressTwice, ContainerUnassigned)
	if !strings.Contains(found[0].Cause, "net/a/eth0 on node n1; net/b/eth0 on node n2") ||
		found[0].Key != l.prefix+"/assignments/default/10.42.64.9" {
		t.Errorf("it is told as %+v", found[0])
	}
	l.fixes(AddressTwice, ContainerUnassigned)
	if !slices.Contains(l.repaired, "n1") || !slices.Contains(l.repaired, "n2") {
		t.Errorf("asked to settle were %q, want both", l.repaired)
	}
}

func TestAnIsolatedContainerIsFoundAndHasNoPartInADuplicate(t *testing.T) {
	l := newLab(t)
	l.has("n2", "b", "10.42.64.9", isolated)
	l.has("n1", "a", "10.42.64.9")
	l.says("n2", func(a *record.NodeReport) { a.Ports[0].Class = "" })
	if f := l.finds(ContainerIsolated)[0]; f.Fix || f.Node != "n2" || !strings.Contains(f.Repair, "berthctl delete net/b/eth0") {
		t.Errorf("it is told as %+v", f)
	}
	l.says("n2", func(a *record.NodeReport) { a.Ports = []record.HeldPort{{Name: "bthb", Class: "stateless"}} })
	l.finds(ContainerIsolated, PortClass)
}

func TestPortsThatAreNotAsTheJournalSaysAreFound(t *testing.T) {
	l := newLab(t)
	l.has("n1", "gone", "10.42.64.9")
	l.has("n1", "wrong", "10.42.64.10")
	l.has("n1", "none", "10.42.64.11")
	l.has("n1", "underway", "10.42.64.12", func(h *record.HeldAttachment) { h.Answered = false })
	l.says("n1", func(a *record.NodeReport) {
		a.Ports = []record.HeldPort{{Name: "bthwrong", Class: "stateful"}, {Name: "bthnone"}, {Name: "bthunderway"}, {Name: "bthforeign"},
			{Name: "bthold", Class: "stateful", Gone: true}}
	})
	found := l.finds(ClassWithoutPort, PortClass, PortClass, PortMissing, PortStray)
	if f := found[4]; f.Fix || !strings.Contains(f.Repair, "ip link del bthforeign") {
		t.Errorf("a port that has no alias is left to a person, and told as %+v", f)
	}
}

func TestWhatANodeHadNoRoomToTellIsNotMissed(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.64.9")
	l.reserve("db-0", "10.42.0.9")
	l.put("reservations/default/10.42.0.9", holding("db-0", "n1", "b", 3))
	l.says("n1", func(a *record.NodeReport) {
		a.Attachments, a.Ports = nil, []record.HeldPort{{Name: "btha", Class: "stateless"}}
		a.More = record.More{Attachments: 2}
	})
	l.finds()
	l.says("n1", func(a *record.NodeReport) { a.More = record.More{} })
	l.finds(AssignmentNoContainer, PortStray, ReservationNoContainer)
}

func TestANodeThatDoesNotAnswerIsNamedAndNothingOfItIsMissed(t *testing.T) {
	l := newLab(t)
	l.join("n3")
	l.put("assignments/default/10.42.200.9", `{"attachment":{"network":"net","container":"a","interface":"eth0"},"node":"n3"}`)
	hurried := quick
	hurried.Patience = 500 * time.Millisecond
	r, err := Examine(t.Context(), l.store, hurried)
	l.check(err)
	if len(r.Findings) != 1 || r.Findings[0].Kind != NodeSilent || r.Findings[0].Node != "n3" || !slices.Equal(r.Silent, []string{"n3"}) {
		t.Errorf("the report is %+v", r)
	}
}

func TestAMemberOfANodeThatEtcdHasLostIsDetachedWhereNoFenceWasPromised(t *testing.T) {
	l := newLab(t)
	l.reserve("db-0", "10.42.0.9")
	l.put("reservations/default/10.42.0.9", holding("db-0", "ghost", "b", 3))
	l.fence(record.FencingStrict)
	if f := l.finds(ReservationUnknownNode)[0]; f.Fix || !strings.Contains(f.Repair, "berthctl node remove ghost") {
		t.Errorf("in strict mode it is told as %+v", f)
	}
	l.fence(record.FencingEvidence)
	l.fixes()
	if rest := l.get("reservations/default/10.42.0.9"); strings.Contains(rest, "ghost") || !strings.Contains(rest, "db-0") {
		t.Errorf("the reservation is %s", rest)
	}
}

func TestWhatHasChangedSinceItWasFoundIsNotRepaired(t *testing.T) {
	l := newLab(t)
	const key = "assignments/default/10.42.64.9"
	l.put(key, `{"attachment":{"network":"net","container":"a","interface":"eth0"},"node":"n1"}`)
	report := l.examine()
	if len(report.Findings) != 1 || !report.Findings[0].Fix {
		t.Fatalf("found %+v", report.Findings)
	}
	l.has("n1", "a", "10.42.64.9") // it is published, and the answer has it from now on
	if _, err := Fix(t.Context(), l.store, report, quick); err != nil {
		t.Fatal(err)
	}
	if l.get(key) == "" {
		t.Error("the assignment of a container that has come since was deleted")
	}

	l.put("assignments/default/10.42.64.10", `{"attachment":{"network":"net","container":"b","interface":"eth0"},"node":"n1"}`)
	report = l.examine()
	l.join("n1") // another generation: what it said before counts no more
	if done, err := l.store.Admin.Repair(t.Context(), report.state, *report.Findings[0].repair); err != nil || done {
		t.Errorf("by the word of a former generation it was repaired: %v, %v", done, err)
	}
}

func TestAReservationThatIsLostComesBackWithWhoeverHasIt(t *testing.T) {
	l := newLab(t)
	l.reserve("db-0", "10.42.0.9")
	l.reserve("db-1", "10.42.0.10")
	l.has("n1", "a", "10.42.0.9", stateful("db-0", 7))
	l.del("reservations/default/10.42.0.9")
	l.del("reservations/default/10.42.0.10")
	l.finds(IdentityNoReservation, IdentityNoReservation)
	l.fixes()
	if got := l.get("reservations/default/10.42.0.9"); !strings.Contains(got, `"epoch":7`) || !strings.Contains(got, `"container":"a"`) {
		t.Errorf("the one that runs has %s", got)
	}
	if got := l.get("reservations/default/10.42.0.10"); !strings.Contains(got, "db-1") || strings.Contains(got, "holder") {
		t.Errorf("the one that does not run has %s", got)
	}

	l.reserve("db-2", "10.42.0.11")
	l.del("reservations/default/10.42.0.11")
	l.put("nodes/n3", someNode)
	if f := l.finds(IdentityNoReservation, NodeAway)[0]; f.Fix {
		t.Errorf("while a node is away that may have the address: %+v", f)
	}
	l.put("nodes/n3", "{")
	if f := l.finds(IdentityNoReservation, RecordUnreadable)[1]; f.Fix {
		t.Errorf("while a node's record cannot be read that may have the address: %+v", f)
	}
}

func TestAContainerThatEtcdAttachesToNobodyIsAttachedAgain(t *testing.T) {
	l := newLab(t)
	l.reserve("db-0", "10.42.0.9")
	l.has("n1", "a", "10.42.0.9", stateful("db-0", 4))
	l.finds(ContainerUnreserved)
	l.fixes()
	if got := l.get("reservations/default/10.42.0.9"); !strings.Contains(got, `"container":"a"`) || !strings.Contains(got, `"epoch":4`) {
		t.Errorf("it has %s", got)
	}
	l.put("reservations/default/10.42.0.9", holding("db-1", "n2", "b", 1))
	l.has("n2", "b", "10.42.0.9", stateful("db-1", 1))
	l.finds(AddressTwice, ContainerUnreserved, IdentityElsewhere, ReservationNoIdentity)
}

const someNode = `{"name":"n3","machine":"m","boot":"b","journal":"j","fencing":"evidence","session":"15s","addressLease":"1h"}`

func TestOtherDisagreementsOfPoolsAndNodesAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(*lab)
		want   []Kind
	}{
		"a node's part in a stateful range": {func(l *lab) {
			l.put("blocks/default/10.42.3.0", `{"prefix":"10.42.3.0/26","parts":[{"prefix":"10.42.3.0/26","owner":"n1"}]}`)
		}, []Kind{PartInRange}},
		"a part that its node does not use": {func(l *lab) {
			l.put("blocks/default/10.42.90.0", `{"prefix":"10.42.90.0/26","parts":[{"prefix":"10.42.90.0/26","owner":"n1"}]}`)
		}, []Kind{PartUnused}},
		"a block that etcd gives to another": {func(l *lab) {
			l.put("blocks/default/10.42.64.0", `{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/26","owner":"n2"}]}`)
		}, []Kind{PartUnrecorded, PartUnused}},
		"an address that lies in no part of its node": {func(l *lab) { l.has("n1", "a", "10.42.64.70") }, []Kind{AssignmentNoPart}},
		"an address that is excluded":                 {func(l *lab) { l.has("n1", "a", "10.42.64.1") }, []Kind{AddressExcluded}},
		"a reservation outside of the ranges": {func(l *lab) {
			l.put("reservations/default/10.42.100.9", strings.Split(holding("db-0", "", "", 1), `,`+"\n")[0]+"}")
			l.put("identities/net/ns/db/db-0/eth0", `{"pool":"default","addresses":["10.42.100.9"]}`)
		}, []Kind{ReservationOutside}},
		"a session that would never end": {func(l *lab) {
			l.put("nodes/n3", someNode)
			l.put("sessions/n3", "{}")
			l.put("status/n3", fmt.Sprintf(`{"applied":%d}`, l.config.Revision))
		}, []Kind{NodeSilent, SessionLasting}},
		"a node that lags": {func(l *lab) {
			l.check(rollout.Publish(l.Context(), l.sessions["n1"], rollout.Batch{Status: record.Status{Applied: 1}}))
		}, []Kind{NodeBehind}},
		// The sessions end with it, and these nodes do not join again.
		"another etcd's state": {func(l *lab) { l.put("cluster", `{"id":"abc"}`) }, []Kind{ClusterDiffers, NodeSilent, NodeSilent}},
		"nobody's state":       {func(l *lab) { l.del("cluster") }, []Kind{ClusterDiffers, NodeSilent, NodeSilent}},
		"records of the config": {func(l *lab) { l.put("config/history/9", "{"); l.put("config/pools/x", "[]") },
			[]Kind{RecordUnreadable, RecordUnreadable}},
		"what lies in a pool that cannot be read": {func(l *lab) {
			l.put("config/pools/default", "{")
			l.put("assignments/default/10.42.64.1", `{"attachment":{"network":"net","container":"a","interface":"eth0"},"node":"n1"}`)
		}, []Kind{RecordUnreadable, AssignmentNoContainer}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			c.damage(l)
			patient := quick
			patient.Patience = 2 * time.Second
			r, err := Examine(t.Context(), l.store, patient)
			l.check(err)
			var got []Kind
			for _, f := range r.Findings {
				got = append(got, f.Kind)
				if f.Cause == "" || f.Repair == "" {
					t.Errorf("it says too little: %+v", f)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q: %+v", got, c.want, r.Findings)
			}
		})
	}
}
