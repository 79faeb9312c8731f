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
	g, outcome := s.Take(app, now, true)
	if outcome != Taken {
		t.Fatalf("outcome %v, want an address", outcome)
	}
	return g.Address
}

// drain takes all that can be taken.
func drain(s *Space, app App, now Instant, cooling bool) (got []netip.Addr) {
	for {
		g, outcome := s.Take(app, now, cooling)
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
	if _, outcome := s.Take(web, 0, true); outcome != Exhausted {
		t.Errorf("outcome %v of an exhausted space", outcome)
	}
	if c := s.Counts(); c != (Counts{Held: 6, Excluded: 2}) {
		t.Errorf("counts are %+v", c)
	}
}

func TestAReleasedAddressGoesBackToItsApp(t *testing.T) {
	s := newSpace(t)
	first, second := take(t, s, web, 0), take(t, s, web, 0)
	s.Release(first, web, time.Second, 0)
	s.Release(second, web, 2*time.Second, 0)
	if a := take(t, s, batch, 3*time.Second); a == first || a == second {
		t.Errorf("another app took %v within the cooldown", a)
	}
	g, _ := s.Take(web, 10*time.Minute, false)
	if g.Address != second || g.Source != Reused {
		t.Errorf("took %v (%s), want %v, which the app released last", g.Address, g.Source, second)
	}
	// The first one's window ends at 10m1s.
	if g, _ = s.Take(web, 10*time.Minute+time.Second, false); g.Address == first || g.Source != Fresh {
		t.Errorf("took %v (%s) after the reuse window, want one never used", g.Address, g.Source)
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

func TestAnotherAppWaitsForTheCooldownUnlessNothingElseIsLeft(t *testing.T) {
	for _, former := range []App{web, {}} {
		s := newSpace(t)
		all := drain(s, former, 0, false)
		s.Release(all[3], former, time.Second, 0)
		s.Release(all[1], former, 2*time.Second, 0)
		for now, want := range map[Instant]Outcome{30 * time.Second: Cooling, 31 * time.Second: Taken} {
			g, outcome := s.Take(batch, now, false)
			if outcome != want {
				t.Errorf("at %v: outcome %v, want %v", now, outcome, want)
			}
			if outcome == Taken {
				s.Undo(g.Address)
			}
		}
		if g, outcome := s.Take(batch, 3*time.Second, true); outcome != Taken || g.Address != all[3] {
			t.Errorf("took %v (%v), want the oldest one, %v", g.Address, outcome, all[3])
		}
	}
}

func TestNobodyGetsAQuarantinedAddress(t *testing.T) {
	s := newSpace(t)
	all := drain(s, web, 0, false)
	s.Release(all[0], web, time.Second, 2*time.Second)
	if got := drain(s, web, 3*time.Second-1, true); got != nil {
		t.Errorf("took %v out of quarantine", got)
	}
	if _, err := s.TakeAddress(all[0]); !errors.Is(err, ErrQuarantined) {
		t.Errorf("took it by name: error %v", err)
	}
	if err := s.Remove(prefix("10.0.0.0/29")); !errors.Is(err, ErrHeld) {
		t.Errorf("removed it: error %v", err)
	}
	if g, outcome := s.Take(web, 3*time.Second, false); outcome != Taken || g.Source != Reused {
		t.Errorf("after the quarantine the app gets %v (%v)", g, outcome)
	}
	s.Release(all[0], web, time.Minute, time.Hour)
	s.Release(all[1], web, time.Minute, time.Second)
	if got := drain(s, web, 2*time.Minute, false); !slices.Equal(got, all[1:2]) {
		t.Errorf("took %v, want the one whose quarantine was short", got)
	}
}

func TestAnAddressIsTakenByName(t *testing.T) {
	s := newSpace(t)
	s.Release(take(t, s, web, 0), web, 0, 0) // within the cooldown, and yet
	g, err := s.TakeAddress(addr("10.0.0.2"))
	if err != nil || g.Address != addr("10.0.0.2") {
		t.Errorf("got %v, error %v", g, err)
	}
	for a, want := range map[string]error{"10.0.0.2": ErrHeld, "10.0.0.1": ErrExcluded, "10.0.0.8": ErrNotOwned, "fd00::1": ErrNotOwned} {
		if _, err := s.TakeAddress(addr(a)); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", a, err, want)
		}
	}
}

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
	if g, _ := s.Take(web, 2*time.Second, false); g.Source != Reused {
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
	if g, _ := s.Take(web, 2*time.Second, false); g.Source != Reused {
		t.Fatalf("took %v (%s)", g.Address, g.Source)
	}
	s.Undo(a)
	if c := s.Counts(); c != before {
		t.Errorf("counts are %+v, want %+v", c, before)
	}
	if g, _ := s.Take(web, 2*time.Second, false); g.Address != a || g.Source != Reused {
		t.Errorf("took %v (%s), want the app's %v", g.Address, g.Source, a)
	}
}

func TestATakenPartIsProbedUntilItsAddressWasInUse(t *testing.T) {
	s := newSpace(t)
	s.Add(prefix("10.0.0.8/29"), true)
	s.Add(prefix("10.0.0.8/29"), false) // changes nothing
	a := addr("10.0.0.9")
	for _, step := range []struct {
		probe bool
		end   func()
	}{
		{true, func() { s.Undo(a) }},
		{true, func() { s.Release(a, web, 0, 0) }},
		{false, func() { s.Release(a, web, 0, 0) }},
	} {
		g, err := s.TakeAddress(a)
		if err != nil || g.Probe != step.probe {
			t.Errorf("got %+v, error %v, want probe %v", g, err, step.probe)
		}
		step.end()
	}
	if g, _ := s.TakeAddress(addr("10.0.0.2")); g.Probe {
		t.Error("an address that was claimed free is to be probed")
	}
}

func TestAPartIsTakenApartAndPutTogether(t *testing.T) {
	s := newSpace(t)
	s.Add(prefix("10.0.0.0/28"), false)
	s.Add(prefix("10.0.0.16/28"), false)
	s.Add(prefix("10.0.1.0/28"), false) // not the pool's
	if err := s.Remove(prefix("10.0.0.4/30")); err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{prefix("10.0.0.0/30"), prefix("10.0.0.8/29"), prefix("10.0.0.16/28")}
	if got := s.Parts(); !slices.Equal(got, want) {
		t.Errorf("parts are %v, want %v", got, want)
	}
	if s.Owns(addr("10.0.0.4")) || !s.Owns(addr("10.0.0.8")) || s.Owns(addr("10.0.1.1")) {
		t.Error("owned is not what the parts say")
	}
	s.Add(prefix("10.0.0.4/30"), false)
	want = []netip.Prefix{prefix("10.0.0.0/28"), prefix("10.0.0.16/28")}
	if got := s.Parts(); !slices.Equal(got, want) {
		t.Errorf("parts are %v, want %v", got, want)
	}
}

func TestAHeldAddressStopsRemoveAndNotDrop(t *testing.T) {
	s := newSpace(t)
	a := take(t, s, web, 0)
	if err := s.Remove(prefix("10.0.0.0/29")); !errors.Is(err, ErrHeld) || !s.Owns(addr("10.0.0.7")) {
		t.Errorf("removed a held address: error %v", err)
	}
	s.Drop(prefix("10.0.0.0/29"))
	s.Release(a, web, 0, 0)
	if s.Owns(a) || s.Counts() != (Counts{}) || len(s.Parts()) != 0 {
		t.Errorf("after the drop: counts %+v, parts %v", s.Counts(), s.Parts())
	}
}

func TestAPartIsIdleOnceNobodyMayComeBackForIt(t *testing.T) {
	s := newSpace(t)
	s.Add(prefix("10.0.0.16/28"), false)
	used, unused := prefix("10.0.0.0/29"), prefix("10.0.0.16/28")
	a := addr("10.0.0.2")
	for _, c := range []struct {
		name  string
		app   App
		quiet time.Duration // from the release until the part is idle
	}{{"an app's", web, 10 * time.Minute}, {"nobody's", App{}, 30 * time.Second}} {
		if _, err := s.TakeAddress(a); err != nil {
			t.Fatal(err)
		}
		if got := s.Idle(0); !slices.Equal(got, []netip.Prefix{unused}) {
			t.Errorf("held: idle are %v", got)
		}
		s.Release(a, c.app, time.Second, time.Second)
		if got := s.Idle(2*time.Second + c.quiet - 1); !slices.Equal(got, []netip.Prefix{unused}) {
			t.Errorf("%s, too early: idle are %v", c.name, got)
		}
		if got := s.Idle(2*time.Second + c.quiet); !slices.Equal(got, []netip.Prefix{used, unused}) {
			t.Errorf("%s: idle are %v", c.name, got)
		}
	}
}

func TestAppsThatHaveGoneAreForgotten(t *testing.T) {
	s := newSpace(t)
	for i := range 10_000 {
		app := App{"ns", string(rune('a'+i%26)) + time.Duration(i).String()}
		s.Release(take(t, s, app, Instant(i)), app, Instant(i), 0)
	}
	if n := len(s.apps.entries); n > 8 {
		t.Errorf("%d apps are remembered for 6 addresses", n)
	}
}

func TestTakeAndReleaseAllocateNothing(t *testing.T) {
	s := newSpace(t)
	now := Instant(0)
	for _, app := range []App{web, batch, {}} {
		turn := func() {
			now += time.Minute
			g, outcome := s.Take(app, now, true)
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
	if got := drain(s, web, 0, true); len(got) != 1 || got[0] == first {
		t.Errorf("took %v while %s rests", got, first)
	}
	s.Suspect(first, 30*time.Second, time.Hour) // not held: nothing
	g, outcome := s.Take(batch, time.Minute, true)
	if outcome != Taken || g.Address != first || !g.Probe {
		t.Errorf("after its rest: %+v, %v", g, outcome)
	}
}
