package allocator

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestRecoveryHoldsWhateverExclusionsSay(t *testing.T) {
	s := newSpace(t)
	s.Release(take(t, s, web, 0), web, 0, time.Hour)
	for range 2 {
		for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.5"} {
			if err := s.Hold(addr(a)); err != nil || !s.Holds(addr(a)) {
				t.Errorf("hold %s: error %v", a, err)
			}
		}
	}
	if err := s.Hold(addr("10.0.0.8")); !errors.Is(err, ErrNotOwned) {
		t.Errorf("held what is not owned: error %v", err)
	}
	s.Release(addr("10.0.0.1"), web, 0, 0)
	if got := drain(s, web, 0, true); len(got) != 4 {
		t.Errorf("took %v, want the four that are left", got)
	}
}

func TestExclusionsOnlyFilterNewChoices(t *testing.T) {
	s, p := newSpace(t), spacePool()
	a := take(t, s, web, 0)
	b := take(t, s, web, 0)
	s.Release(b, web, time.Second, 0)
	p.Exclude = []Range{{a, b}}
	s.Configure(&p)
	if !s.Holds(a) || s.Counts() != (Counts{Free: 4, Held: 1, Excluded: 3}) {
		t.Errorf("counts are %+v", s.Counts())
	}
	s.Release(a, web, time.Second, 0)
	if got := drain(s, web, time.Hour, true); slices.Contains(got, a) || slices.Contains(got, b) || len(got) != 4 {
		t.Errorf("took %v, with %v and %v excluded", got, a, b)
	}
	p.Exclude = nil
	s.Configure(&p)
	if g, _ := s.Allocate(web, 2*time.Second, false); g.Source != Reused {
		t.Errorf("took %v (%s), want the app's own one, which is excluded no longer", g.Address, g.Source)
	}
}

func TestTheOldGatewayCanBeGivenAndTheNewOneCannot(t *testing.T) {
	s, p := newSpace(t), spacePool()
	p.Gateways[0] = addr("10.0.0.7")
	s.Configure(&p)
	if got := drain(s, web, 0, false); !slices.Contains(got, addr("10.0.0.1")) || slices.Contains(got, addr("10.0.0.7")) {
		t.Errorf("took %v", got)
	}
}

func TestOfADrainedPoolNothingIsKeptForAnybody(t *testing.T) {
	s, p := newSpace(t), spacePool()
	a := take(t, s, web, 0)
	s.Release(a, web, 0, 0)
	if got := s.Idle(1); len(got) != 0 {
		t.Errorf("before: idle are %v, and %s is kept for its app", got, a)
	}
	p.Draining = true
	s.Configure(&p)
	if got := s.Idle(1); !slices.Equal(got, s.Parts()) {
		t.Errorf("drained: idle are %v of %v", got, s.Parts())
	}
}
