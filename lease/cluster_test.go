package lease

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/embedded"
)

// A machine is an etcd that can be set back to what it was at an earlier time.
type machine struct {
	*lab
	dir    string
	server *embedded.Server
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	if len(dir) > 60 { // a unix socket's path is short
		short, err := os.MkdirTemp("", "m")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(short) })
		dir = short
	}
	m := &machine{&lab{t, Options{Endpoints: []string{"unix://" + filepath.Join(dir, "etcd.sock")}}}, dir, nil}
	m.start()
	t.Cleanup(func() { m.server.Stop() })
	return m
}

func (m *machine) start() {
	m.Helper()
	var err error
	m.server, err = startEtcd(m.dir)
	m.check(err)
}

// save keeps what etcd has now under a name, and back sets it to that: with the same id, as a restore with the former
// token does.
func (m *machine) save(name string) {
	m.Helper()
	m.server.Stop()
	m.check(os.CopyFS(filepath.Join(m.dir, name), os.DirFS(filepath.Join(m.dir, "data"))))
	m.start()
}

func (m *machine) back(name string) {
	m.Helper()
	m.server.Stop()
	m.check(os.RemoveAll(filepath.Join(m.dir, "data")))
	if name != "" {
		m.check(os.CopyFS(filepath.Join(m.dir, "data"), os.DirFS(filepath.Join(m.dir, name))))
	}
	m.start()
}

func (l *lab) meet(s *Store, name string, past Past) Standing {
	l.Helper()
	standing, err := s.Meet(l.Context(), name, "machine of "+name, past)
	l.check(err)
	return standing
}

// past is what a node remembers of a session.
func past(at Standing, x *Session) Past {
	return Past{Cluster: at.Cluster, Life: at.Life, Generation: x.Generation()}
}

func TestTheFirstToMeetAFreshEtcdWritesItsID(t *testing.T) {
	l := newLab(t)
	first, second := l.meet(l.store(), "n1", Past{}), l.meet(l.store(), "n2", Past{})
	id, err := l.store().ClusterID(t.Context())
	l.check(err)
	if first.Recovering || second != first || first.Cluster != id {
		t.Errorf("the first met %+v, the second %+v: want etcd's id %s, and nothing to recover", first, second, id)
	}
}

func TestWhoHasSeenMoreThanEtcdHasVoidsItsIDAndNobodyIsGivenAnything(t *testing.T) {
	m := newMachine(t)
	s := m.store()
	config := m.apply(s, smallest())
	m.meet(s, "n1", Past{})
	x := m.join(s, "n1")
	m.save("early")
	m.claims(x, config, "10.42.16.0/26")
	m.back("early")

	m.until("the store has noticed", func() bool { _, err := s.Config(t.Context()); return errors.Is(err, ErrOtherLife) })
	other := m.store() // has seen nothing of before
	stranger := m.join(other, "n2")
	at := m.meet(s, "n1", Past{})
	if !at.Recovering || !at.New || at.Life != 1 {
		t.Errorf("it met %+v: want a recovery in the second life", at)
	}
	if _, err := stranger.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err, ErrClusterChanged) {
		t.Errorf("a node that has not noticed could claim: %v", err)
	}
	x = m.join(s, "n1")
	if _, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26")); !errors.Is(err, ErrRecovering) {
		t.Errorf("a node could claim while all recover: %v", err)
	}
	if met := m.meet(other, "n2", Past{}); !met.Recovering || met.Life != 1 {
		t.Errorf("the other met %+v: want the same recovery", met)
	}
	m.check(s.AcceptCluster(t.Context(), at))
	if met := m.meet(s, "n1", past(at, x)); met.Recovering || met.Life != 1 {
		t.Errorf("after the recovery it met %+v", met)
	}
	if err := second(x.ReleaseBlock(t.Context(), Block{Pool: "default", Prefix: prefix("10.42.16.0/26")}, prefix("10.42.16.0/26"))); !errors.Is(err, ErrClusterChanged) {
		t.Errorf("the session of the recovery goes on: %v", err)
	}
}

// claims claims a block that must be had.
func (l *lab) claims(x *Session, c *Config, block string) Block {
	l.Helper()
	b, err := x.ClaimBlock(l.Context(), "default", c.PoolRevisions["default"], prefix(block))
	l.check(err)
	return b
}

func TestAnAgentThatWasStartedAnewKnowsThatEtcdWentBack(t *testing.T) {
	for name, after := range map[string]func(m *machine){
		"at once":                          func(*machine) {},
		"when others have gone on with it": func(m *machine) { m.grow(200) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			at := m.meet(m.store(), "n1", Past{})
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

func (m *machine) grow(revisions int) {
	m.Helper()
	raw := m.raw()
	for range revisions {
		_, err := raw.Put(m.Context(), "/elsewhere", "")
		m.check(err)
	}
}

func TestANodeThatWasRemovedAndComesBackVoidsNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	at := l.meet(s, "n1", Past{})
	x := l.join(s, "n1")
	now := time.Now()
	_, err := l.raw().Put(t.Context(), s.keys.node("n1"), encode(Node{Removed: &now}))
	l.check(err)
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
	at := m.meet(s, "n1", Past{})
	remembered := past(at, m.join(s, "n1"))
	m.back("")
	if met := m.meet(m.store(), "n1", remembered); !met.Recovering || met.Cluster == at.Cluster {
		t.Errorf("a node with a past met %+v", met)
	}
	// A node that runs sees that its own etcd has become another, even where a fresh node came first.
	m.back("")
	m.meet(m.store(), "n9", Past{})
	if met := m.meet(s, "n1", remembered); !met.Recovering || !met.New {
		t.Errorf("a node that runs met %+v", met)
	}
}

func TestAStateOfAnotherEtcdIsRecoveredAndRemembersIt(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	_, err := l.raw().Put(t.Context(), s.keys.cluster(), `{"id": "c0ffee"}`)
	l.check(err)
	at := l.meet(s, "n1", Past{Cluster: "c0ffee", Generation: 7})
	if !at.Recovering {
		t.Fatalf("it met %+v", at)
	}
	x := l.join(s, "n1")
	if _, err := x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c1")}); !errors.Is(err, ErrRecovering) {
		t.Errorf("a member could reserve: %v", err)
	}
	pool := config.Pools["default"]
	if _, err := s.ReserveFor(t.Context(), pool, config.PoolRevisions["default"], identity("db", 0), nil); !errors.Is(err, ErrRecovering) {
		t.Errorf("an operator could reserve: %v", err)
	}
	l.check(s.AcceptCluster(t.Context(), at))
	l.check(s.AcceptCluster(t.Context(), at)) // again
	for who, past := range map[string]Past{"one of before": {Cluster: "c0ffee", Generation: 7}, "a fresh one": {}} {
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
		"reserve": second(x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c1")})),
		"give":    second(x.Give(t.Context(), mine, prefix("10.42.17.8/32"), l.demand(l.join(l.store(), "n2")))),
	} {
		if !errors.Is(err, ErrRecovering) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAReservationBeforeAMemberRunsIsOfTheClusterThatItWasDecidedIn(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	decided := &reserving{store: s, cluster: l.meet(s, "n1", Past{}).Revision}
	l.void(s)
	done, err := reserve(t.Context(), decided, []ReserveRequest{asking(config, "default", identity("db", 0), "")})
	if !errors.Is(err, ErrClusterChanged) {
		t.Errorf("after the cluster's record was voided: %+v, %v", done, err)
	}
}

func TestAJournalOfAnotherClusterIsRefused(t *testing.T) {
	l := newLab(t)
	l.meet(l.store(), "n1", Past{})
	_, err := l.store().Meet(t.Context(), "n1", "machine of n1", Past{Cluster: "beef", Generation: 7})
	if foreign, ok := errors.AsType[*ClusterError](err); !ok || foreign.Recorded != "beef" {
		t.Errorf("the error is %v", err)
	}
}

func TestASessionEndsWithTheClusterThatItBeganIn(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	l.meet(s, "n1", Past{})
	x := l.join(s, "n1")
	b := l.claims(x, config, "10.42.16.0/26")
	_, err := l.raw().Put(t.Context(), s.keys.cluster(), `{"id": ""}`)
	l.check(err)
	for what, err := range map[string]error{
		"claim":   second(x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.64/26"))),
		"take":    second(x.TakeBlock(t.Context(), b, config.PoolRevisions["default"], Absence{Node: "n2"})),
		"release": second(x.ReleaseBlock(t.Context(), b, b.Prefix)),
		"publish": x.Publish(t.Context(), Batch{}),
		"reserve": second(x.Reserve(t.Context(), []ReserveRequest{asking(config, "default", identity("db", 0), "c1")})),
		"assert":  second(x.AssertBlock(t.Context(), "default", prefix("10.42.17.0/26"), []netip.Prefix{prefix("10.42.17.0/26")})),
		"keep":    x.Keep(t.Context(), told(func(time.Duration) {})),
	} {
		if !errors.Is(err, ErrClusterChanged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestManyWhoSeeEtcdGoBackVoidItOnce(t *testing.T) {
	m := newMachine(t)
	const nodes = 8
	var pasts [nodes]Past
	names := []string{"n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"}
	m.meet(m.store(), "n0", Past{})
	m.save("early")
	for i, name := range names {
		s := m.store()
		at := m.meet(s, name, Past{})
		pasts[i] = past(at, m.join(s, name))
	}
	m.back("early")
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			if at, err := m.store().Meet(t.Context(), name, "machine of "+name, pasts[i]); err != nil || at.Life != 1 || !at.Recovering {
				t.Errorf("%s met %+v, %v: want one recovery for all", name, at, err)
			}
		})
	}
	all.Wait()
}

func TestOnlyReleasesOfEtcdWithSoundLeasesAreTaken(t *testing.T) {
	for version, want := range map[string]bool{
		"3.3.99": false, "3.4.37": false, "3.4.38": true, "3.5.13": false, "3.5.22": false, "3.5.23": true, "3.6.4": false, "3.6.5": true,
		"3.7.0": true, "3.7.3": true, "3.8.0-alpha.0": true, "4.0.0": true, "": false, "3.6": false, "3.x.1": false,
	} {
		if got := soundRelease(version); got != want {
			t.Errorf("etcd %q is sound: %v, want %v", version, got, want)
		}
	}
	l := newLab(t)
	l.check(l.store().CheckRelease(t.Context()))
}
