package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

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
		g, err := s.AllocateAddress(a)
		if err != nil || g.Probe != step.probe {
			t.Errorf("got %+v, error %v, want probe %v", g, err, step.probe)
		}
		step.end()
	}
	if g, _ := s.AllocateAddress(addr("10.0.0.2")); g.Probe {
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
		if _, err := s.AllocateAddress(a); err != nil {
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

func TestWhatIsNoPartOfABlockIsNeitherAddedNorDropped(t *testing.T) {
	s := newSpace(t)
	before, parts := s.Counts(), s.Parts()
	for _, p := range []string{"10.0.0.0/27", "10.0.0.16/27", "0.0.0.0/0", "10.0.1.0/28", "fd00::/124"} {
		if n := s.Add(prefix(p), false); n != 0 {
			t.Errorf("%d addresses of %s have come in", n, p)
		}
		s.Drop(prefix(p))
		if err := s.Remove(prefix(p)); err != nil || s.Counts() != before || !slices.Equal(s.Parts(), parts) {
			t.Errorf("after %s (%v) it owns %v, %+v", p, err, s.Parts(), s.Counts())
		}
	}
}

func TestWhatIsOwnedIsKnownByItsBlocks(t *testing.T) {
	s := newSpace(t)
	if got := s.Blocks(); !slices.Equal(got, []netip.Prefix{prefix("10.0.0.0/28")}) || !s.OwnsAny() {
		t.Errorf("blocks are %v", got)
	}
	if got := s.BlockOf(addr("10.0.0.20")); got != prefix("10.0.0.16/28") {
		t.Errorf("10.0.0.20 lies in %v", got)
	}
	s.Drop(prefix("10.0.0.0/29"))
	if got := s.Blocks(); len(got) > 0 || s.OwnsAny() {
		t.Errorf("blocks are %v of a space that owns nothing", got)
	}
}

func TestBlocksThatHaveGoneLeaveNoRoomBehind(t *testing.T) {
	s := newSpace(t)
	for range 10 {
		s.Drop(prefix("10.0.0.0/28"))
		s.Add(prefix("10.0.0.16/28"), false)
		s.Drop(prefix("10.0.0.16/28"))
		s.Add(prefix("10.0.0.0/28"), false)
	}
	if len(s.chunks) != 1 {
		t.Errorf("there is room for %d blocks, and at no time there were more than one", len(s.chunks))
	}
}

func TestEveryCallWithATimeEndsTheQuarantinesThatAreOver(t *testing.T) {
	for name, call := range map[string]func(s *Space, held netip.Addr, now Instant){
		"Allocate": func(s *Space, _ netip.Addr, now Instant) { s.Allocate(web, now, false) },
		"Release":  func(s *Space, held netip.Addr, now Instant) { s.Release(held, web, now, 0) },
		"Suspect":  func(s *Space, held netip.Addr, now Instant) { s.Suspect(held, now, time.Hour) },
		"Idle":     func(s *Space, _ netip.Addr, now Instant) { s.Idle(now) },
		"Half":     func(s *Space, _ netip.Addr, now Instant) { s.Half(now, 0) },
	} {
		s := newSpace(t)
		rests, held := take(t, s, web, 0), take(t, s, web, 0)
		s.Release(rests, web, 0, time.Minute)
		call(s, held, time.Minute)
		if at, rest := s.Rest(); rest && at <= time.Minute {
			t.Errorf("%s: a quarantine that ended at %s goes on", name, at)
		}
	}
}
