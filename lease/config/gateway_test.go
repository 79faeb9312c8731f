package config_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
)

// moved is the pool default with another gateway.
func movedTo(base *config.Config, gateway string) *config.Config {
	pool := base.Pools["default"]
	pool.Gateways = []netip.Addr{lab.Addr(gateway)}
	return lab.With(base, pool)
}

// reportStatus publishes that a node has taken a revision.
func reportStatus(l *lab.Lab, x *lab.Joined, revision int64) {
	l.Helper()
	l.Check(rollout.Publish(l.Context(), x.Session, rollout.Batch{Status: record.Status{Revision: revision, Applied: revision}}))
}

func currentConfig(l *lab.Lab, s *lab.Store) *config.Config {
	l.Helper()
	c, err := s.Config.Read(l.Context())
	l.Check(err)
	return c
}

// refusedFor wants a change to be refused by the holder's name, in a dry run too, and nothing to be changed.
func refusedFor(l *lab.Lab, s *lab.Store, next *config.Config, holder ...string) {
	l.Helper()
	base := currentConfig(l, s)
	next.Revision, next.Changes, next.PoolRevisions = base.Revision, base.Changes, base.PoolRevisions
	_, planned := s.Editor.Plan(l.Context(), base, next)
	_, applied := s.Editor.Apply(l.Context(), base, next, config.Note{})
	for _, err := range []error{planned, applied} {
		for _, word := range holder {
			if err == nil || !strings.Contains(err.Error(), word) {
				l.Errorf("the error does not name %q: %v", word, err)
			}
		}
	}
	if now := currentConfig(l, s); now.Revision != base.Revision {
		l.Errorf("revision %d became %d", base.Revision, now.Revision)
	}
}

func TestAGatewayIsRefusedWhereSomebodyHasTheAddress(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b := l.Claims(x, base, "10.42.16.0/26")
	held := record.Assignment{Pool: "default", Address: lab.Addr("10.42.16.9"), Node: "n1",
		Attachment: allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"}}
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held}}))
	refusedFor(l, s, movedTo(base, "10.42.16.9"), "container c1", "node n1")

	reserved := l.Reserve(x, reservation.Request{
		Pool: base.Pools["default"], PoolRevision: base.PoolRevisions["default"], Identity: lab.Identity("db", 0),
		Attachment: allocator.Attachment{Network: "berth", Container: "c2", Interface: "eth0"},
	})
	refusedFor(l, s, movedTo(base, reserved[0].Address.String()), "ns/db", "c2", "n1")

	_, err := s.Reservations.ReserveFor(t.Context(), base.Pools["default"], base.PoolRevisions["default"], lab.Identity("db", 1),
		[]netip.Addr{lab.Addr("10.42.0.77")})
	l.Check(err)
	refusedFor(l, s, movedTo(base, "10.42.0.77"), "ns/db", "reserved")
}

func TestAGatewayMovesWhenTheOwnerOfItsPartHasAppliedTheExclusion(t *testing.T) {
	l := lab.New(t)
	s, other := l.Store(), l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	l.Claims(x, base, "10.42.16.0/26")
	reportStatus(l, x, base.Revision)
	a := lab.Addr("10.42.16.9")
	waited := false
	after, err := s.Editor.ApplyInSteps(t.Context(), base, movedTo(base, a.String()), config.Applying{Waiting: func(error) {
		now := currentConfig(l, other)
		pool := now.Pools["default"]
		if pool.Usable(a) || slices.Contains(pool.Gateways, a) {
			t.Errorf("while it is waited for the pool is %+v", pool)
		}
		if !waited {
			waited = true
			reportStatus(l, x, now.Revision)
		}
	}})
	l.Check(err)
	pool := after.Pools["default"]
	if !waited || after.Changes != base.Changes+2 || !slices.Equal(pool.Gateways, []netip.Addr{a}) || len(pool.Exclude) > 0 {
		t.Errorf("waited: %t, then %+v", waited, after)
	}
	if pool.Usable(lab.Addr("10.42.0.1")) || pool.Usable(a) {
		t.Error("the former gateway, or the present one, may be given out")
	}
	if read := currentConfig(l, other).Pools["default"]; read.Usable(lab.Addr("10.42.0.1")) {
		t.Error("who reads the configuration may give the former gateway out")
	}
}

func TestAContainerThatGetsTheAddressWhileItsExclusionIsAppliedKeepsIt(t *testing.T) {
	l := lab.New(t)
	s, other := l.Store(), l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b := l.Claims(x, base, "10.42.16.0/26")
	held := record.Assignment{Pool: "default", Address: lab.Addr("10.42.16.9"), Node: "n1",
		Attachment: allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"}}
	_, err := s.Editor.ApplyInSteps(t.Context(), base, movedTo(base, "10.42.16.9"), config.Applying{Waiting: func(error) {
		// What it had answered before it heard of the exclusion is published with the first status that knows of it.
		l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held},
			Status: record.Status{Revision: currentConfig(l, other).Revision}}))
	}})
	partial, ok := errors.AsType[*config.PartialError](err)
	if taken, is := errors.AsType[*record.TakenError](err); !ok || len(partial.Revisions) != 1 || !is || !lab.Contains(taken, "c1") {
		t.Errorf("the error is %v", err)
	}
	if g := currentConfig(l, s).Pools["default"].Gateways; !slices.Equal(g, base.Pools["default"].Gateways) {
		t.Errorf("the gateway has moved to %v", g)
	}
}

func TestAGatewayDoesNotMoveOntoWhatAnAbsentNodeMayHaveGiven(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	l.Away(base, "n2", "10.42.16.0/26")
	refusedFor(l, s, movedTo(base, "10.42.16.9"), "node n2", "away")
}

func TestNothingComesBetweenTheLookAtAGatewayAndItsMove(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	excluded := base.Pools["default"]
	for _, a := range []netip.Addr{lab.Addr("10.42.16.9"), lab.Addr("10.42.0.9")} {
		excluded.Exclude = append(excluded.Exclude, allocator.Range{From: a, To: a})
	}
	base, err := s.Editor.Apply(t.Context(), base, lab.With(base, excluded), config.Note{})
	l.Check(err)
	next := movedTo(base, "10.42.16.9")
	free, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
	l.Check(err)
	l.Claims(x, base, "10.42.16.0/26")
	_, moved, err := s.Editor.CommitOnce(t.Context(), config.ChangeOf(base, next, config.Note{}, free, "default"), time.Now())
	if err != nil || !moved {
		t.Errorf("it moved although its block was claimed meanwhile: %v", err)
	}
}

func TestAFormerGatewayIsFreeOnlyWhenEveryNodeHasTakenItOff(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x, y := l.Join(s, "n1"), l.Join(s, "n2")
	reportStatus(l, x, base.Revision)
	reportStatus(l, y, base.Revision)
	after, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.16.9"), config.Note{})
	l.Check(err)
	former := lab.Addr("10.42.0.1")
	usable := func() bool { p := currentConfig(l, s).Pools["default"]; return p.Usable(former) }

	reportStatus(l, x, after.Revision)
	if freed, err := s.Former.Free(t.Context(), config.Note{}); err != nil || freed != 0 || usable() {
		t.Errorf("freed %d while n2 has it: %v", freed, err)
	}
	reportStatus(l, y, after.Revision)
	freed, err := s.Former.Free(t.Context(), config.Note{Who: "n1"})
	l.Check(err)
	if freed != 1 || !usable() {
		t.Errorf("freed %d: usable %t", freed, usable())
	}
	history, err := s.Config.History(t.Context())
	l.Check(err)
	if last := history[len(history)-1]; len(last.Changes) != 1 || last.Changes[0].Before != "10.42.0.1" {
		t.Errorf("the history says %+v", last)
	}
}

// A pool's gateway stays on bridges when the pool goes, until the nodes hear of it: the next pool of that CIDR waits.
func TestTheGatewayOfARemovedPoolIsNotGivenOutByTheNextOne(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	reportStatus(l, x, base.Revision)
	_, err := s.Editor.RemovePool(t.Context(), base, "default", config.Note{})
	l.Check(err)
	next := lab.Smallest()
	next.Name, next.Gateways = "next", nil
	after := l.Apply(s, next)
	if p := after.Pools["next"]; p.Usable(lab.Addr("10.42.0.1")) {
		t.Error("it may be given out")
	}
	reportStatus(l, x, after.Revision)
	_, err = s.Former.Free(t.Context(), config.Note{})
	l.Check(err)
	if p := currentConfig(l, s).Pools["next"]; !p.Usable(lab.Addr("10.42.0.1")) {
		t.Error("it stays kept although every node has taken it off")
	}
}

func TestAGatewayThatComesBackIsNoFormerOne(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	there, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.16.9"), config.Note{})
	l.Check(err)
	back, err := s.Editor.Apply(t.Context(), there, movedTo(there, "10.42.0.1"), config.Note{})
	l.Check(err)
	if back.Changes != there.Changes+1 || len(back.Former) != 1 || back.Former[0].Address != lab.Addr("10.42.16.9") {
		t.Errorf("%d changes, former gateways %v", back.Changes-there.Changes, back.Former)
	}
}

func TestAStatefulRangeDoesNotShrinkBelowAReservation(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	request := reservation.Request{
		Pool: base.Pools["default"], PoolRevision: base.PoolRevisions["default"], Identity: lab.Identity("db", 0),
		Addresses:  []netip.Addr{lab.Addr("10.42.15.9")},
		Attachment: allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"},
	}
	l.Reserve(x, request)
	shrunk := base.Pools["default"]
	shrunk.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/21")}
	refusedFor(l, s, lab.With(base, shrunk), "ns/db", "c1", "node n1")
	none := base.Pools["default"]
	none.Stateful = nil
	refusedFor(l, s, lab.With(base, none), "ns/db")

	_, err := s.Reservations.End(t.Context(), lab.Identity("db", 0), true)
	l.Check(err)
	after, err := s.Editor.Apply(t.Context(), base, lab.With(base, shrunk), config.Note{})
	l.Check(err)
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("what the range has lost is kept from nodes: %v, %v", blocks, err)
	}
	l.Claims(x, after, "10.42.15.0/26")
}

func TestAnExclusionTakesNothingAndNamesWhoKeepsHisAddress(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b := l.Claims(x, base, "10.42.16.0/26")
	held := record.Assignment{Pool: "default", Address: lab.Addr("10.42.16.9"), Node: "n1",
		Attachment: allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"}}
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held}}))
	pool := base.Pools["default"]
	pool.Exclude = []allocator.Range{{From: lab.Addr("10.42.16.0"), To: lab.Addr("10.42.16.63")}}
	words, count, err := s.Editor.Excluded(t.Context(), base, lab.With(base, pool))
	l.Check(err)
	if count != 1 || !strings.Contains(words[0], "10.42.16.9") || !strings.Contains(words[0], "c1") || !strings.Contains(words[0], "n1") {
		t.Errorf("%d: %v", count, words)
	}
	_, err = s.Editor.Apply(t.Context(), base, lab.With(base, pool), config.Note{})
	l.Check(err)
	if a, err := s.Blocks.Assignment(t.Context(), "default", lab.Addr("10.42.16.9")); err != nil || a == nil {
		t.Errorf("the assignment is %v, %v", a, err)
	}
}

func TestAGatewayBeyondItsPoolIsNoneThatAnotherPoolGivesOut(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest(), lab.Small())
	pool := base.Pools["small"]
	pool.Gateways, pool.OnLink = []netip.Addr{lab.Addr("10.42.16.9")}, true
	if _, err := s.Editor.Apply(t.Context(), base, lab.With(base, pool), config.Note{}); err == nil || !lab.Contains(err, `lies in pool "default"`) {
		t.Errorf("the error is %v", err)
	}
	pool.Gateways = []netip.Addr{lab.Addr("192.0.2.1")}
	if _, err := s.Editor.Apply(t.Context(), base, lab.With(base, pool), config.Note{}); err != nil {
		t.Errorf("in no pool: %v", err)
	}
}
