package config_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
)

// many are n pools of a /24 each.
func many(n int) (pools []allocator.Pool) {
	for i := range n {
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		pools = append(pools, allocator.Pool{Name: fmt.Sprintf("p%05d", i), CIDRs: []netip.Prefix{cidr}}.WithDefaults())
	}
	return pools
}

func TestMorePoolsThanOneTransactionHoldsAreSeveralChangesEachWithItsRevisionAndHistory(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s)
	next := lab.With(base, many(1000)...)
	next.Settings.Session = allocator.Duration(7 * time.Second)
	planned, err := s.Editor.Plan(t.Context(), base, next)
	l.Check(err)
	var told []int64
	after, err := s.Editor.ApplyInSteps(t.Context(), base, next,
		config.Applying{Note: config.Note{Who: "tester"}, Done: func(_, _ int, c *config.Config) { told = append(told, c.Revision) }})
	l.Check(err)
	read, err := s.Config.Read(t.Context())
	l.Check(err)
	history, err := s.Config.History(t.Context())
	l.Check(err)
	if planned < 2 || len(told) != planned || int64(planned) != after.Changes-base.Changes || len(history) != int(after.Changes) {
		t.Errorf("%d changes were planned, %d told, and the history has %d of %d", planned, len(told), len(history), after.Changes)
	}
	if len(read.Pools) != 1000 || len(config.Diff(read, next)) > 0 || read.Revision != after.Revision || told[len(told)-1] != after.Revision {
		t.Errorf("etcd has %d pools at revision %d, apply says %d", len(read.Pools), read.Revision, after.Revision)
	}
	for i, h := range history[base.Changes:] {
		if h.Revision != told[i] {
			t.Errorf("change %d has revision %d, and was told as %d", h.Number, h.Revision, told[i])
		}
	}
	then, err := s.Editor.At(t.Context(), base.Changes+1)
	l.Check(err)
	after, _, err = s.Editor.Restore(t.Context(), after, then, config.Note{})
	l.Check(err)
	if len(config.Diff(after, then)) > 0 {
		t.Errorf("the rollback left %d pools, and there were %d", len(after.Pools), len(then.Pools))
	}
}

func TestAChangeInStepsStopsAtTheFirstThatFailsAndSaysWhichAreIn(t *testing.T) {
	l := lab.New(t)
	s, other := l.Store(), l.Store()
	base := l.Apply(s)
	_, err := s.Editor.ApplyInSteps(t.Context(), base, lab.With(base, many(300)...), config.Applying{Done: func(step, _ int,
		after *config.Config) {
		if step == 1 {
			changed := after.Clone()
			changed.Settings.Session = allocator.Duration(9 * time.Second)
			_, err := other.Editor.Apply(t.Context(), after, changed, config.Note{Who: "another"})
			l.Check(err)
		}
	}})
	partial, ok := errors.AsType[*config.PartialError](err)
	if !ok || len(partial.Revisions) != 1 || partial.Steps != 3 || !strings.Contains(err.Error(), fmt.Sprint(partial.Revisions[0])) {
		t.Fatalf("the error is %v", err)
	}
	if _, conflict := errors.AsType[*config.ConflictError](err); !conflict {
		t.Errorf("its cause is lost: %v", err)
	}
	read, err := s.Config.Read(t.Context())
	l.Check(err)
	if len(read.Pools) != 100 {
		t.Errorf("%d pools are in", len(read.Pools))
	}
}

func TestADryRunSaysNoToWhatEtcdWouldRefuse(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	large := base.Pools["default"]
	for i := range 60_000 {
		a := netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)})
		large.Exclude = append(large.Exclude, allocator.Range{From: a, To: a})
	}
	_, planned := s.Editor.Plan(t.Context(), base, lab.With(base, large))
	_, applied := s.Editor.Apply(t.Context(), base, lab.With(base, large), config.Note{})
	if planned == nil || applied == nil || planned.Error() != applied.Error() || !lab.Contains(planned, "bytes") {
		t.Errorf("planned: %v, applied: %v", planned, applied)
	}
}

func TestAChangeThatIsNotWantedAnyMoreEnds(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s)
	ctx, cancel := context.WithCancel(t.Context())
	how := config.Applying{Done: func(int, int, *config.Config) { cancel() }}
	_, err := s.Editor.ApplyInSteps(ctx, base, lab.With(base, many(1000)...), how)
	if partial, ok := errors.AsType[*config.PartialError](err); !ok || len(partial.Revisions) != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
