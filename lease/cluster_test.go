package lease

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheFirstToMeetAFreshEtcdWritesItsID(t *testing.T) {
	l := newLab(t)
	first, second := l.meet(l.store(), "n1", session.Past{}), l.meet(l.store(), "n2", session.Past{})
	id, err := l.store().Sessions.ClusterID(t.Context())
	l.check(err)
	if first.Recovering || second != first || first.Cluster != id {
		t.Errorf("the first met %+v, the second %+v: want etcd's id %s, and nothing to recover", first, second, id)
	}
}

func TestWhoHasSeenMoreThanEtcdHasVoidsItsIDAndNobodyIsGivenAnything(t *testing.T) {
	m := newMachine(t)
	s := m.store()
	config := m.apply(s, smallest())
	m.meet(s, "n1", session.Past{})
	x := m.join(s, "n1")
	m.save("early")
	m.claims(x, config, "10.42.16.0/26")
	m.back("early")

	m.until("the store has noticed", func() bool { _, err := s.Config.Read(t.Context()); return errors.Is(err, kv.ErrStoreReset) })
	other := m.store() // has seen nothing of before
	stranger := m.join(other, "n2")
	at := m.meet(s, "n1", session.Past{})
	if !at.Recovering || !at.New || at.Life != 1 {
		t.Errorf("it met %+v: want a recovery in the second life", at)
	}
	if _, err := stranger.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err,
		session.ErrClusterChanged) {
		t.Errorf("a node that has not noticed could claim: %v", err)
	}
	x = m.join(s, "n1")
	if _, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err,
		session.ErrRecovering) {
		t.Errorf("a node could claim while all recover: %v", err)
	}
	if met := m.meet(other, "n2", session.Past{}); !met.Recovering || met.Life != 1 {
		t.Errorf("the other met %+v: want the same recovery", met)
	}
	m.check(s.Sessions.AcceptCluster(t.Context(), at))
	if met := m.meet(s, "n1", past(at, x)); met.Recovering || met.Life != 1 {
		t.Errorf("after the recovery it met %+v", met)
	}
	if err := second(x.ReleaseBlock(t.Context(), record.Block{Pool: "default", Prefix: prefix("10.42.16.0/26")},
		prefix("10.42.16.0/26"))); !errors.Is(err, session.ErrClusterChanged) {
		t.Errorf("the session of the recovery goes on: %v", err)
	}
}

func TestAnAgentThatWasStartedAnewKnowsThatEtcdWentBack(t *testing.T) {
	for name, after := range map[string]func(m *machine){
		"at once":                          func(*machine) {},
		"when others have gone on with it": func(m *machine) { m.grow(200) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			at := m.meet(m.store(), "n1", session.Past{})
			m.save("early")
			x := m.join(m.store(), "n1")
			m.back("early")
			after(m)
			if met := m.meet(m.store(), "n1", past(at, x)); !met.Recovering {
				t.Errorf("it met %+v: its node key is missing", met)
			}
		})
	}
}

func TestANodeThatWasRemovedAndComesBackVoidsNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	at := l.meet(s, "n1", session.Past{})
	x := l.join(s, "n1")
	now := time.Now()
	l.put(s.KV.Keys.Node("n1"), kv.Encode(record.Node{Removed: &now}))
	if met := l.meet(l.store(), "n1", past(at, x)); met.Recovering {
		t.Errorf("it met %+v", met)
	}
	another := node("n1")
	another.Machine = "another"
	if _, err := l.store().Join(t.Context(), another); err != nil {
		t.Errorf("a name under a gravestone is free: %v", err)
	}
}

func TestAnEtcdMadeAnewRecoversWhoeverComesFirst(t *testing.T) {
	m := newMachine(t)
	s := m.store()
	at := m.meet(s, "n1", session.Past{})
	remembered := past(at, m.join(s, "n1"))
	m.back("")
	if met := m.meet(m.store(), "n1", remembered); !met.Recovering || met.Cluster == at.Cluster {
		t.Errorf("a node with a past met %+v", met)
	}
	// A node that runs sees that its own etcd has become another, even where a fresh node came first.
	m.back("")
	m.meet(m.store(), "n9", session.Past{})
	if met := m.meet(s, "n1", remembered); !met.Recovering || !met.New {
		t.Errorf("a node that runs met %+v", met)
	}
}

func TestAStateOfAnotherEtcdIsRecoveredAndRemembersIt(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	l.put(s.KV.Keys.Cluster(), `{"id": "c0ffee"}`)
	at := l.meet(s, "n1", session.Past{Cluster: "c0ffee", Generation: 7})
	if !at.Recovering {
		t.Fatalf("it met %+v", at)
	}
	x := l.join(s, "n1")
	if _, err := x.Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", 0), "c1")}); !errors.Is(err,
		session.ErrRecovering) {
		t.Errorf("a member could reserve: %v", err)
	}
	pool := config.Pools["default"]
	if _, err := s.Reservations.ReserveFor(t.Context(), pool, config.PoolRevisions["default"], identity("db", 0), nil); !errors.Is(err,
		session.ErrRecovering) {
		t.Errorf("an operator could reserve: %v", err)
	}
	l.check(s.Sessions.AcceptCluster(t.Context(), at))
	l.check(s.Sessions.AcceptCluster(t.Context(), at)) // again
	for who, past := range map[string]session.Past{"one of before": {Cluster: "c0ffee", Generation: 7}, "a fresh one": {}} {
		if met := l.meet(l.store(), "n1", past); met.Recovering || met.Life != 1 {
			t.Errorf("%s met %+v", who, met)
		}
	}
}

func TestWhoRecoversIsGivenNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	revision := config.PoolRevisions["default"]
	theirs, gone := l.away(config, "n9", "10.42.16.0/26")
	mine := l.claims(l.join(s, "n1"), config, "10.42.17.0/26")
	l.void(s)
	x := l.join(s, "n1")
	for what, err := range map[string]error{
		"claim":   second(x.ClaimBlock(t.Context(), "default", revision, prefix("10.42.18.0/26"))),
		"take":    second(x.TakeBlock(t.Context(), theirs, revision, gone)),
		"reserve": second(x.Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", 0), "c1")})),
		"give":    second(x.Give(t.Context(), mine, prefix("10.42.17.8/32"), l.demand(l.join(l.store(), "n2")))),
	} {
		if !errors.Is(err, session.ErrRecovering) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAReservationBeforeAMemberRunsIsOfTheClusterThatItWasDecidedIn(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	decided := &reservation.Reserving{Store: s.Reservations, Cluster: l.meet(s, "n1", session.Past{}).Revision}
	l.void(s)
	done, err := reservation.Reserve(t.Context(), decided, []reservation.Request{asking(config, "default", identity("db", 0), "")})
	if !errors.Is(err, session.ErrClusterChanged) {
		t.Errorf("after the cluster's record was voided: %+v, %v", done, err)
	}
}

func TestAJournalOfAnotherClusterIsRefused(t *testing.T) {
	l := newLab(t)
	l.meet(l.store(), "n1", session.Past{})
	_, err := l.store().Sessions.Handshake(t.Context(), "n1", "machine of n1", session.Past{Cluster: "beef", Generation: 7})
	if foreign, ok := errors.AsType[*session.ClusterError](err); !ok || foreign.Recorded != "beef" {
		t.Errorf("the error is %v", err)
	}
}

func TestASessionEndsWithTheClusterThatItBeganIn(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	l.meet(s, "n1", session.Past{})
	x := l.join(s, "n1")
	b := l.claims(x, config, "10.42.16.0/26")
	l.put(s.KV.Keys.Cluster(), `{"id": ""}`)
	for what, err := range map[string]error{
		"claim":   second(x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26"))),
		"take":    second(x.TakeBlock(t.Context(), b, config.PoolRevisions["default"], record.Absence{Node: "n2"})),
		"release": second(x.ReleaseBlock(t.Context(), b, b.Prefix)),
		"publish": x.Publish(t.Context(), rollout.Batch{}),
		"reserve": second(x.Reserve(t.Context(), []reservation.Request{asking(config, "default", identity("db", 0), "c1")})),
		"assert":  second(x.AssertBlock(t.Context(), "default", prefix("10.42.17.0/26"), []netip.Prefix{prefix("10.42.17.0/26")})),
		"keep":    x.Keep(t.Context(), told(func(time.Duration) {})),
	} {
		if !errors.Is(err, session.ErrClusterChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestManyWhoSeeEtcdGoBackVoidItOnce(t *testing.T) {
	m := newMachine(t)
	const nodes = 8
	var pasts [nodes]session.Past
	names := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	m.meet(m.store(), "n0", session.Past{})
	m.save("early")
	for i, name := range names {
		s := m.store()
		at := m.meet(s, name, session.Past{})
		pasts[i] = past(at, m.join(s, name))
	}
	m.back("early")
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			if at, err := m.store().Sessions.Handshake(t.Context(), name, "machine of "+name,
				pasts[i]); err != nil || at.Life != 1 || !at.Recovering {
				t.Errorf("%s met %+v, %v: want one recovery for all", name, at, err)
			}
		})
	}
	all.Wait()
}
