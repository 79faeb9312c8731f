package allocator

import (
	"testing"
	"time"
)

func TestAReleasedAddressGoesBackToItsApp(t *testing.T) {
	s := newSpace(t)
	first, second := take(t, s, web, 0), take(t, s, web, 0)
	s.Release(first, web, time.Second, 0)
	s.Release(second, web, 2*time.Second, 0)
	if a := take(t, s, batch, 3*time.Second); a == first || a == second {
		t.Errorf("another app took %v within the cooldown", a)
	}
	g, _ := s.Allocate(web, 10*time.Minute, false)
	if g.Address != second || g.Source != Reused {
		t.Errorf("took %v (%s), want %v, which the app released last", g.Address, g.Source, second)
	}
	// The first one's window ends at 10m1s.
	if g, _ = s.Allocate(web, 10*time.Minute+time.Second, false); g.Address == first || g.Source != Fresh {
		t.Errorf("took %v (%s) after the reuse window, want one never used", g.Address, g.Source)
	}
}

func TestAnotherAppWaitsForTheCooldownUnlessNothingElseIsLeft(t *testing.T) {
	for _, former := range []App{web, {}} {
		s := newSpace(t)
		all := drain(s, former, 0, false)
		s.Release(all[3], former, time.Second, 0)
		s.Release(all[1], former, 2*time.Second, 0)
		for now, want := range map[Instant]Outcome{30 * time.Second: Cooling, 31 * time.Second: Taken} {
			g, outcome := s.Allocate(batch, now, false)
			if outcome != want {
				t.Errorf("at %v: outcome %v, want %v", now, outcome, want)
			}
			if outcome == Taken {
				s.Undo(g.Address)
			}
		}
		if g, outcome := s.Allocate(batch, 3*time.Second, true); outcome != Taken || g.Address != all[3] {
			t.Errorf("took %v (%v), want the oldest one, %v", g.Address, outcome, all[3])
		}
	}
}

func TestAppsThatHaveGoneAreForgotten(t *testing.T) {
	s := newSpace(t)
	for i := range 10_000 {
		app := App{"ns", string(rune('a'+i%26)) + time.Duration(i).String()}
		s.Release(take(t, s, app, Instant(i)), app, Instant(i), 0)
	}
	if n := len(s.apps.entries); n > 6+2 { // nobody, and the next before the last is forgotten
		t.Errorf("%d apps are remembered for 6 addresses", n)
	}
}
