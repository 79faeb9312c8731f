package session_test

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheFirstHandshakeWithAFreshEtcdWritesItsID(t *testing.T) {
	l := lab.New(t)
	first, second := l.Handshake(l.Store(), "n1", session.Past{}), l.Handshake(l.Store(), "n2", session.Past{})
	id, err := l.Store().Sessions.ClusterID(t.Context())
	l.Check(err)
	if first.Recovering || second != first || first.Cluster != id {
		t.Errorf("the first met %+v, the second %+v: want etcd's id %s, and nothing to recover", first, second, id)
	}
}

func TestWhoHasSeenMoreThanEtcdHasVoidsItsIDAndNobodyIsGivenAnything(t *testing.T) {
	m := lab.NewMachine(t)
	s := m.Store()
	config := m.Apply(s, lab.Smallest())
	m.Handshake(s, "n1", session.Past{})
	x := m.Join(s, "n1")
	m.Save("early")
	m.Claims(x, config, "10.42.16.0/26")
	m.Back("early")

	m.Until("the store has noticed", func() bool { _, err := s.Config.Read(t.Context()); return errors.Is(err, kv.ErrStoreReset) })
	other := m.Store() // has seen nothing of before
	stranger := m.Join(other, "n2")
	at := m.Handshake(s, "n1", session.Past{})
	if !at.Recovering || !at.New || at.Incarnation != 1 {
		t.Errorf("it met %+v: want a recovery in the second incarnation", at)
	}
	revision, free := config.PoolRevisions["default"], lab.Prefix("10.42.16.64/26")
	if _, err := block.Claim(t.Context(), stranger.Session, "default", revision, free); !errors.Is(err, session.ErrClusterChanged) {
		t.Errorf("a node that has not noticed could claim: %v", err)
	}
	x = m.Join(s, "n1")
	if _, err := block.Claim(t.Context(), x.Session, "default", revision, free); !errors.Is(err, session.ErrRecovering) {
		t.Errorf("a node could claim while all recover: %v", err)
	}
	if met := m.Handshake(other, "n2", session.Past{}); !met.Recovering || met.Incarnation != 1 {
		t.Errorf("the other met %+v: want the same recovery", met)
	}
	m.Check(s.Sessions.AcceptCluster(t.Context(), at))
	if met := m.Handshake(s, "n1", past(at, x)); met.Recovering || met.Incarnation != 1 {
		t.Errorf("after the recovery it met %+v", met)
	}
	if err := lab.Second(block.Release(t.Context(), x.Session, record.Block{Pool: "default", Prefix: lab.Prefix("10.42.16.0/26")},
		lab.Prefix("10.42.16.0/26"))); !errors.Is(err, session.ErrClusterChanged) {
		t.Errorf("the session of the recovery goes on: %v", err)
	}
}

func TestAnAgentThatWasStartedAnewKnowsThatEtcdWentBack(t *testing.T) {
	for name, after := range map[string]func(m *lab.Machine){
		"at once":                          func(*lab.Machine) {},
		"when others have gone on with it": func(m *lab.Machine) { m.Grow(200) },
	} {
		t.Run(name, func(t *testing.T) {
			m := lab.NewMachine(t)
			at := m.Handshake(m.Store(), "n1", session.Past{})
			m.Save("early")
			x := m.Join(m.Store(), "n1")
			m.Back("early")
			after(m)
			if met := m.Handshake(m.Store(), "n1", past(at, x)); !met.Recovering {
				t.Errorf("it met %+v: its node key is missing", met)
			}
		})
	}
}

func TestANodeThatWasRemovedAndComesBackVoidsNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	at := l.Handshake(s, "n1", session.Past{})
	x := l.Join(s, "n1")
	now := time.Now()
	l.Put(s.KV.Keys.Node("n1"), kv.Encode(record.Node{Removed: &now}))
	if met := l.Handshake(l.Store(), "n1", past(at, x)); met.Recovering {
		t.Errorf("it met %+v", met)
	}
	another := lab.Node("n1")
	another.Machine = "another"
	if _, err := l.Store().Join(t.Context(), another); err != nil {
		t.Errorf("a name under a tombstone is free: %v", err)
	}
}

func TestAnEtcdMadeAnewRecoversWhoeverComesFirst(t *testing.T) {
	m := lab.NewMachine(t)
	s := m.Store()
	at := m.Handshake(s, "n1", session.Past{})
	remembered := past(at, m.Join(s, "n1"))
	m.Back("")
	if met := m.Handshake(m.Store(), "n1", remembered); !met.Recovering || met.Cluster == at.Cluster {
		t.Errorf("a node with a past met %+v", met)
	}
	// A node that runs sees that its own etcd has become another, even where a fresh node came first.
	m.Back("")
	m.Handshake(m.Store(), "n9", session.Past{})
	if met := m.Handshake(s, "n1", remembered); !met.Recovering || !met.New {
		t.Errorf("a node that runs met %+v", met)
	}
}

func TestAStateOfAnotherEtcdIsRecoveredAndRemembersIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	l.Put(s.KV.Keys.Cluster(), `{"id": "c0ffee"}`)
	at := l.Handshake(s, "n1", session.Past{Cluster: "c0ffee", Generation: 7})
	if !at.Recovering {
		t.Fatalf("it met %+v", at)
	}
	x := l.Join(s, "n1")
	if _, err := x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c1")}); !errors.Is(err,
		session.ErrRecovering) {
		t.Errorf("a member could reserve: %v", err)
	}
	pool := config.Pools["default"]
	if _, err := s.Reservations.ReserveFor(t.Context(), pool, config.PoolRevisions["default"], lab.Identity("db", 0), nil); !errors.Is(err,
		session.ErrRecovering) {
		t.Errorf("an operator could reserve: %v", err)
	}
	l.Check(s.Sessions.AcceptCluster(t.Context(), at))
	l.Check(s.Sessions.AcceptCluster(t.Context(), at)) // again
	for who, past := range map[string]session.Past{"one of before": {Cluster: "c0ffee", Generation: 7}, "a fresh one": {}} {
		if met := l.Handshake(l.Store(), "n1", past); met.Recovering || met.Incarnation != 1 {
			t.Errorf("%s met %+v", who, met)
		}
	}
}

func TestWhoRecoversIsGivenNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	revision := config.PoolRevisions["default"]
	theirs, gone := l.Away(config, "n9", "10.42.16.0/26")
	mine := l.Claims(l.Join(s, "n1"), config, "10.42.17.0/26")
	l.Void(s)
	x := l.Join(s, "n1")
	for what, err := range map[string]error{
		"claim":   lab.Second(block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.18.0/26"))),
		"take":    lab.Second(block.TakeOver(t.Context(), x.Session, theirs, revision, gone)),
		"reserve": lab.Second(x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c1")})),
		"give":    lab.Second(block.Transfer(t.Context(), x.Session, mine, lab.Prefix("10.42.17.8/32"), l.Demand(l.Join(l.Store(), "n2")))),
	} {
		if !errors.Is(err, session.ErrRecovering) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAJournalOfAnotherClusterIsRefused(t *testing.T) {
	l := lab.New(t)
	l.Handshake(l.Store(), "n1", session.Past{})
	_, err := l.Store().Sessions.Handshake(t.Context(), "n1", "machine of n1", session.Past{Cluster: "beef", Generation: 7})
	if foreign, ok := errors.AsType[*session.ClusterError](err); !ok || foreign.Recorded != "beef" {
		t.Errorf("the error is %v", err)
	}
}

func TestASessionEndsWithTheClusterThatItBeganIn(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	l.Handshake(s, "n1", session.Past{})
	x := l.Join(s, "n1")
	b := l.Claims(x, config, "10.42.16.0/26")
	l.Put(s.KV.Keys.Cluster(), `{"id": ""}`)
	another := lab.Prefix("10.42.17.0/26")
	for what, err := range map[string]error{
		"claim":   lab.Second(block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.16.64/26"))),
		"take":    lab.Second(block.TakeOver(t.Context(), x.Session, b, config.PoolRevisions["default"], record.Absence{Node: "n2"})),
		"release": lab.Second(block.Release(t.Context(), x.Session, b, b.Prefix)),
		"publish": rollout.Publish(t.Context(), x.Session, rollout.Batch{}),
		"reserve": lab.Second(x.Reserve(t.Context(), []reservation.Request{lab.Asking(config, "default", lab.Identity("db", 0), "c1")})),
		"assert":  lab.Second(block.Assert(t.Context(), x.Session, "default", another, []netip.Prefix{another})),
		"keep":    x.Keep(t.Context(), lab.Told(func(time.Duration) {})),
	} {
		if !errors.Is(err, session.ErrClusterChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestManyWhoSeeEtcdGoBackVoidItOnce(t *testing.T) {
	m := lab.NewMachine(t)
	const nodes = 8
	var pasts [nodes]session.Past
	names := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	m.Handshake(m.Store(), "n0", session.Past{})
	m.Save("early")
	for i, name := range names {
		s := m.Store()
		at := m.Handshake(s, name, session.Past{})
		pasts[i] = past(at, m.Join(s, name))
	}
	m.Back("early")
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			if at, err := m.Store().Sessions.Handshake(t.Context(), name, "machine of "+name,
				pasts[i]); err != nil || at.Incarnation != 1 || !at.Recovering {
				t.Errorf("%s met %+v, %v: want one recovery for all", name, at, err)
			}
		})
	}
	all.Wait()
}
