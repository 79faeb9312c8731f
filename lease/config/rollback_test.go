package config_test

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
)

// lived is a cluster with five changes: a pool, its MTU, the session, another pool, and the MTU again.
func lived(l *lab.Lab, s *lab.Store) {
	l.Helper()
	pool := lab.Smallest()
	l.Apply(s, pool)
	pool.MTU = 1400
	l.Apply(s, pool)
	base, err := s.Config.Read(l.Context())
	l.Check(err)
	next := base.Clone()
	next.Settings.Session = allocator.Duration(3 * time.Second)
	_, err = s.Editor.Apply(l.Context(), base, next, config.Note{Who: "tester"})
	l.Check(err)
	l.Apply(s, lab.Small())
	pool.MTU = 1300
	l.Apply(s, pool)
}

func TestTheConfigurationAfterEachChangeCanBeSeen(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	if _, err := s.Editor.At(t.Context(), 99); err == nil || !lab.Contains(err, "there was no change yet") {
		t.Errorf("of a cluster that nobody has configured: %v", err)
	}
	lived(l, s)
	for _, c := range []struct {
		number     int64
		mtu, pools int
		session    time.Duration
	}{{1, 0, 1, 15 * time.Second}, {2, 1400, 1, 15 * time.Second}, {3, 1400, 1, 3 * time.Second}, {4, 1400, 2, 3 * time.Second}, {5, 1300, 2,
		3 * time.Second}} {
		got, err := s.Editor.At(t.Context(), c.number)
		l.Check(err)
		if got.Pools["default"].MTU != c.mtu || len(got.Pools) != c.pools || time.Duration(got.Settings.Session) != c.session {
			t.Errorf("after change %d: %+v, want %+v", c.number, got, c)
		}
	}
	for _, n := range []int64{-1, 0, 6} {
		if _, err := s.Editor.At(t.Context(), n); err == nil || !lab.Contains(err, "from 1 to 5") {
			t.Errorf("after change %d: error %v", n, err)
		}
	}
}

func TestAnOlderConfigurationIsRestoredAsANewRevision(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	lived(l, s)
	base, err := s.Config.Read(t.Context())
	l.Check(err)
	then, err := s.Editor.At(t.Context(), 2)
	l.Check(err)
	after, kept, err := s.Editor.Restore(t.Context(), base, then, config.Note{Who: "tester", Message: "back"})
	l.Check(err)
	read, err := s.Config.Read(t.Context())
	l.Check(err)
	read.Read = after.Read // sessions of former tests end meanwhile
	if !reflect.DeepEqual(after, read) {
		t.Errorf("it answers %+v, and there is %+v", after, read)
	}
	if len(kept) != 0 || after.Revision <= base.Revision || after.Changes != 6 || len(after.Pools) != 1 ||
		after.Pools["default"].MTU != 1400 || !reflect.DeepEqual(after.Settings, record.DefaultSettings()) {
		t.Errorf("restored %+v, kept %v", after, kept)
	}
	again, _, err := s.Editor.Restore(t.Context(), after, then, config.Note{Who: "tester"})
	l.Check(err)
	if again.Revision != after.Revision {
		t.Error("restoring what is there made a new revision")
	}
	// The one who restores from a base that is no longer there loses, as any other.
	if _, _, err := s.Editor.Restore(t.Context(), base, then.Clone(), config.Note{}); err == nil {
		t.Error("an old base was overwritten")
	} else if _, ok := errors.AsType[*config.ConflictError](err); !ok {
		t.Errorf("error %v", err)
	}
}

func TestAPoolThatCameLaterStaysWhileItIsInUse(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	lived(l, s)
	base, err := s.Config.Read(t.Context())
	l.Check(err)
	_, err = s.Reservations.ReserveFor(t.Context(), base.Pools["small"], base.PoolRevisions["small"], lab.Identity("db", 0), nil)
	l.Check(err)
	then, err := s.Editor.At(t.Context(), 1)
	l.Check(err)
	planned, kept, err := s.Editor.Restorable(t.Context(), base, then)
	l.Check(err)
	if len(kept) != 1 || kept[0].Pool != "small" || kept[0].Reservations != 1 || len(planned.Pools) != 2 {
		t.Errorf("the plan is %+v, kept %v", planned, kept)
	}
	after, kept, err := s.Editor.Restore(t.Context(), base, then, config.Note{Who: "tester"})
	l.Check(err)
	if len(kept) != 1 || len(after.Pools) != 2 || after.Pools["default"].MTU != 0 ||
		!reflect.DeepEqual(after.Pools["small"], base.Pools["small"]) {
		t.Errorf("restored %+v, kept %v", after, kept)
	}
}

func TestARemovedPoolComesBack(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	lived(l, s)
	base, err := s.Config.Read(t.Context())
	l.Check(err)
	base, err = s.Editor.RemovePool(t.Context(), base, "small", config.Note{Who: "tester"})
	l.Check(err)
	then, err := s.Editor.At(t.Context(), 5)
	l.Check(err)
	after, _, err := s.Editor.Restore(t.Context(), base, then, config.Note{Who: "tester"})
	l.Check(err)
	if !reflect.DeepEqual(after.Pools["small"], lab.Small()) {
		t.Errorf("the pool is %+v", after.Pools["small"])
	}
	if _, err := s.Reservations.ReserveFor(t.Context(), after.Pools["small"], after.PoolRevisions["small"], lab.Identity("db", 0),
		nil); err != nil {
		t.Errorf("it cannot be used: %v", err)
	}
}

func TestADrainedPoolIsOneThatNoNodeAndNoContainerUses(t *testing.T) {
	f := lab.NewFleet(t)
	base, err := f.S.Config.Read(t.Context())
	f.Check(err)
	draining, err := f.S.Editor.Drain(t.Context(), base, "default", config.Note{Who: "tester"})
	f.Check(err)
	if !draining.Pools["default"].Draining || draining.Revision == base.Revision {
		t.Fatalf("after Drain: %+v", draining)
	}
	seen := make(chan config.PoolUse, 1000)
	done := make(chan error, 1)
	go func() {
		_, err := f.S.Editor.WaitDrained(t.Context(), "default", func(use config.PoolUse) { seen <- use })
		done <- err
	}()
	if use := <-seen; use != (config.PoolUse{Blocks: 2, Assignments: 4, Attached: 1, Reservations: 1}) {
		t.Errorf("in use are %+v", use)
	}
	for name, b := range f.Blocks {
		first := b.Prefix.Addr().Next()
		f.Check(rollout.Publish(t.Context(), f.Nodes[name].Session, rollout.Batch{
			Status: record.Status{Applied: draining.Revision}, Blocks: []record.Block{b},
			Clear: []record.Assignment{{Pool: "default", Address: first}, {Pool: "default", Address: first.Next()}},
		}))
		f.Check(lab.Second(block.Release(t.Context(), f.Nodes[name].Session, b, b.Prefix)))
	}
	reservations, err := f.S.Reservations.List(t.Context())
	f.Check(err)
	r := reservations[0]
	f.Check(f.S.Reservations.Detach(t.Context(),
		[]reservation.Detachment{{Pool: "default", Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment,
			Epoch: r.Epoch}}))
	f.Check(<-done)
	var last config.PoolUse
	for len(seen) > 0 {
		last = <-seen
	}
	if last != (config.PoolUse{Reservations: 1}) {
		t.Errorf("in use are at last %+v", last)
	}
}
