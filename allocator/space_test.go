package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	web   = App{"shop", "web"}
	batch = App{"shop", "batch"}
)

// newSpace owns 10.0.0.0/29 of a pool of /28: with the network address and the gateway away, .2 to .7.
func newSpace(t *testing.T) *Space {
	t.Helper()
	p := spacePool()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	s := NewSpace(&p, V4)
	s.Add(prefix("10.0.0.0/29"), false)
	return s
}

func spacePool() Pool {
	return Pool{
		Name:      "p",
		CIDRs:     []netip.Prefix{prefix("10.0.0.0/27")},
		Gateways:  []netip.Addr{addr("10.0.0.1")},
		BlockSize: BlockSize{V4: 28},
		Reuse:     Duration(10 * time.Minute),
		Cooldown:  Duration(30 * time.Second),
	}.WithDefaults()
}

func take(t *testing.T, s *Space, app App, now Instant) netip.Addr {
	t.Helper()
	g, outcome := s.Allocate(app, now, true)
	if outcome != Taken {
		t.Fatalf("outcome %v, want an address", outcome)
	}
	return g.Address
}

// drain takes all that can be taken.
func drain(s *Space, app App, now Instant, cooling bool) (got []netip.Addr) {
	for {
		g, outcome := s.Allocate(app, now, cooling)
		if outcome != Taken {
			return got
		}
		got = append(got, g.Address)
	}
}

func TestEveryUsableAddressIsGivenOnce(t *testing.T) {
	s := newSpace(t)
	got := drain(s, web, 0, false)
	want := []netip.Addr{addr("10.0.0.2"), addr("10.0.0.3"), addr("10.0.0.4"), addr("10.0.0.5"), addr("10.0.0.6"), addr("10.0.0.7")}
	if !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
	if _, outcome := s.Allocate(web, 0, true); outcome != Exhausted {
		t.Errorf("outcome %v of an exhausted space", outcome)
	}
	if c := s.Counts(); c != (Counts{Held: 6, Excluded: 2}) {
		t.Errorf("counts are %+v", c)
	}
}

func TestTheLongestFreeGoesFirstAndNotTheLowest(t *testing.T) {
	s := newSpace(t)
	all := drain(s, App{}, 0, false)
	slices.Reverse(all)
	for i, a := range all {
		s.Release(a, App{}, Instant(i), 0)
	}
	if got := drain(s, web, time.Hour, false); !slices.Equal(got, all) {
		t.Errorf("took %v, want the order of release %v", got, all)
	}
}

func TestNobodyGetsAQuarantinedAddress(t *testing.T) {
	s := newSpace(t)
	all := drain(s, web, 0, false)
	s.Release(all[0], web, time.Second, 2*time.Second)
	if got := drain(s, web, 3*time.Second-1, true); got != nil {
		t.Errorf("took %v out of quarantine", got)
	}
	if _, err := s.AllocateAddress(all[0]); !errors.Is(err, ErrQuarantined) {
		t.Errorf("took it by name: error %v", err)
	}
	if err := s.Remove(prefix("10.0.0.0/29")); !errors.Is(err, ErrHeld) {
		t.Errorf("removed it: error %v", err)
	}
	if g, outcome := s.Allocate(web, 3*time.Second, false); outcome != Taken || g.Source != Reused {
		t.Errorf("after the quarantine the app gets %v (%v)", g, outcome)
	}
	s.Release(all[0], web, time.Minute, time.Hour)
	s.Release(all[1], web, time.Minute, 40*time.Minute)
	if got := drain(s, web, 41*time.Minute, false); !slices.Equal(got, all[1:2]) {
		t.Errorf("took %v, want the one whose quarantine was short", got)
	}
}

func TestAnAddressIsTakenByName(t *testing.T) {
	s := newSpace(t)
	s.Release(take(t, s, web, 0), web, 0, 0) // within the cooldown, and yet
	g, err := s.AllocateAddress(addr("10.0.0.2"))
	if err != nil || g.Address != addr("10.0.0.2") {
		t.Errorf("got %v, error %v", g, err)
	}
	for a, want := range map[string]error{"10.0.0.2": ErrHeld, "10.0.0.1": ErrExcluded, "10.0.0.8": ErrNotOwned, "fd00::1": ErrNotOwned} {
		if _, err := s.AllocateAddress(addr(a)); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", a, err, want)
		}
	}
}

func TestWhatWasNeverOnAWireIsAsBefore(t *testing.T) {
	s := newSpace(t)
	a := take(t, s, web, 0)
	s.Undo(a)
	s.Undo(a)
	if again := take(t, s, web, 0); again != a {
		t.Errorf("took %v, want %v again", again, a)
	}
	s.Release(a, web, time.Second, 0)
	before := s.Counts()
	if g, _ := s.Allocate(web, 2*time.Second, false); g.Source != Reused {
		t.Fatalf("took %v (%s)", g.Address, g.Source)
	}
	s.Undo(a)
	if c := s.Counts(); c != before {
		t.Errorf("counts are %+v, want %+v", c, before)
	}
	if g, _ := s.Allocate(web, 2*time.Second, false); g.Address != a || g.Source != Reused {
		t.Errorf("took %v (%s), want the app's %v", g.Address, g.Source, a)
	}
}

func TestTakeAndReleaseAllocateNothing(t *testing.T) {
	s := newSpace(t)
	now := Instant(0)
	for _, app := range []App{web, batch, {}} {
		turn := func() {
			now += time.Minute
			g, outcome := s.Allocate(app, now, true)
			if outcome != Taken {
				t.Fatal(outcome)
			}
			s.Release(g.Address, app, now, 2*time.Second)
		}
		turn()
		if n := testing.AllocsPerRun(1000, turn); n != 0 {
			t.Errorf("%v allocations a turn of app %q, want none", n, app)
		}
	}
}

func TestASuspectAddressRestsAndIsProbedAgain(t *testing.T) {
	p := spacePool()
	s := NewSpace(&p, V4)
	s.Add(prefix("10.0.0.4/31"), true)
	first := take(t, s, web, 0)
	s.Suspect(first, 0, time.Minute)
	if got := drain(s, web, time.Minute-1, true); len(got) != 1 || got[0] == first {
		t.Errorf("took %v while %s rests", got, first)
	}
	s.Suspect(addr("10.0.0.2"), 0, time.Hour)   // not owned: nothing
	s.Suspect(first, 30*time.Second, time.Hour) // not held: nothing
	g, outcome := s.Allocate(batch, time.Minute, true)
	if outcome != Taken || g.Address != first || !g.Probe {
		t.Errorf("after its rest: %+v, %v", g, outcome)
	}
}

func TestASuspectAddressIsNoAppsAnyMoreAndProbedWhereverItCameFrom(t *testing.T) {
	s := newSpace(t)
	a := take(t, s, web, 0)
	s.Release(a, web, 0, 0)
	if g, _ := s.Allocate(web, 0, false); g.Address != a || g.Source != Reused || g.Probe {
		t.Fatalf("the app got %+v, want %s again", g, a)
	}
	s.Suspect(a, 0, time.Second)
	if g, _ := s.Allocate(web, time.Second, false); g.Source == Reused {
		t.Errorf("the app got %s again, which somebody else has", g.Address)
	}
	if got, err := s.AllocateAddress(a); err != nil || !got.Probe {
		t.Errorf("it was granted %+v (%v), want it to be probed", got, err)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}
