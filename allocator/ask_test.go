package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// asking is newSpace where the wire is to be asked.
func asking(t *testing.T) *Space {
	t.Helper()
	s := newSpace(t)
	s.Ask(true)
	return s
}

func sorted(all []netip.Addr) []netip.Addr {
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func TestTheWireIsAskedForWhatIsFreeAndForNothingElse(t *testing.T) {
	s := newSpace(t)
	held := take(t, s, web, 0)
	s.Ask(true)
	got := sorted(s.Unasked(100))
	var want []netip.Addr
	for a := addr("10.0.0.2"); a != addr("10.0.0.8"); a = a.Next() {
		if a != held {
			want = append(want, a)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("to be asked for are %v, want %v", got, want)
	}
	s.Ask(true) // once more changes nothing
	s.Asked(want[0])
	s.Ask(true)
	if got := s.Unasked(100); slices.Contains(got, want[0]) || len(got) != len(want)-1 {
		t.Errorf("to be asked for are %v: want all but %s, which was asked for", got, want[0])
	}
	s.Ask(false)
	if got := s.Unasked(100); len(got) > 0 {
		t.Errorf("to be asked for are %v where nobody is to ask", got)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

func TestThoseOfOneBlockAreAskedForTogetherAndAtMostSoMany(t *testing.T) {
	s := asking(t)
	s.Add(prefix("10.0.0.16/28"), false)
	blocks := map[netip.Prefix]bool{}
	for _, a := range s.Unasked(100) {
		blocks[s.BlockOf(a)] = true
	}
	if len(blocks) != 1 {
		t.Errorf("they are of blocks %v: want one", blocks)
	}
	if got := s.Unasked(3); len(got) != 3 {
		t.Errorf("asked for three there are %v", got)
	}
	asked := 0
	for all := s.Unasked(4); len(all) > 0; all = s.Unasked(4) {
		for _, a := range all {
			s.Asked(a)
			asked++
		}
	}
	if want := 6 + 15; asked != want { // the second block without the broadcast address
		t.Errorf("%d were asked for, want %d", asked, want)
	}
}

func TestWhatWasNotAskedForIsGivenLastAndToldSo(t *testing.T) {
	s := asking(t)
	known := addr("10.0.0.6")
	s.Asked(known)
	if g, _ := s.Allocate(web, 0, true); g.Address != known || g.Probe {
		t.Errorf("given is %+v: want %s, which the wire was asked for", g, known)
	}
	g, outcome := s.Allocate(web, 0, true)
	if outcome != Taken || !g.Probe {
		t.Errorf("given is %+v: want one that is to be asked for before its first use", g)
	}
	s.Undo(g.Address)
	if again := take(t, s, web, 0); again != g.Address {
		t.Errorf("given is %s: want %s, which was never on a wire", again, g.Address)
	}
	if got := drain(s, web, 0, true); len(got) != 4 || slices.Contains(got, g.Address) || slices.Contains(got, known) {
		t.Errorf("given are %v: want the four others", got)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

func TestWhatWasNotAskedForIsGivenBeforeWhatStillCools(t *testing.T) {
	s := asking(t)
	known := addr("10.0.0.6")
	s.Asked(known)
	s.Release(take(t, s, web, 0), web, 0, 0)
	cooled := spacePool().Cooldown
	if g, _ := s.Allocate(batch, Instant(cooled)-1, true); g.Address == known || !g.Probe {
		t.Errorf("given is %+v: %s was another app's a moment ago", g, known)
	}
	if g, _ := s.Allocate(batch, Instant(cooled), true); g.Address != known || g.Probe {
		t.Errorf("given is %+v: want %s, which has cooled", g, known)
	}
}

func TestOnlyWhatAForeignHostHadIsAskedForAfterAQuarantine(t *testing.T) {
	s := asking(t)
	for _, a := range s.Unasked(100) {
		s.Asked(a)
	}
	own, foreign := take(t, s, web, 0), take(t, s, web, 0)
	s.Release(own, web, 0, time.Minute)
	s.Suspect(foreign, 0, time.Minute)
	s.Settle(time.Minute)
	if got := s.Unasked(100); !slices.Equal(got, []netip.Addr{foreign}) {
		t.Errorf("to be asked for are %v, want %s", got, foreign)
	}
	if g, _ := s.Allocate(web, time.Minute, false); g.Address != own || g.Source != Reused {
		t.Errorf("the app got %+v, want %s again", g, own)
	}
	s = newSpace(t) // where nobody asks, the grant says that it is to be probed
	s.Suspect(take(t, s, web, 0), 0, time.Minute)
	s.Settle(time.Minute)
	if got := s.Unasked(100); len(got) > 0 {
		t.Errorf("to be asked for are %v where nobody is to ask", got)
	}
}

func TestAnAddressThatSomebodyOnTheWireHasRestsAndIsAskedForAgain(t *testing.T) {
	s := asking(t)
	foreign := addr("10.0.0.6")
	for _, a := range s.Unasked(100) {
		if a != foreign {
			s.Asked(a)
		}
	}
	s.Occupied(foreign, 0, time.Minute)
	if given := drain(s, web, time.Minute-1, true); len(given) != 5 || slices.Contains(given, foreign) {
		t.Errorf("given are %v: want the five others", given)
	}
	if _, err := s.AllocateAddress(foreign); !errors.Is(err, ErrQuarantined) {
		t.Errorf("asked for by name: %v", err)
	}
	s.Settle(time.Minute)
	if got := s.Unasked(1); !slices.Equal(got, []netip.Addr{foreign}) {
		t.Errorf("to be asked for after its rest are %v", got)
	}
	if g, outcome := s.Allocate(web, time.Minute, true); outcome != Taken || g.Address != foreign || !g.Probe {
		t.Errorf("after its rest it is %+v: want it to be asked for first", g)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

func TestAGatewayThatIsInUseKeepsNoBlockFromBeingReturned(t *testing.T) {
	s := asking(t)
	gateway := addr("10.0.0.1")
	s.Occupied(gateway, 0, time.Minute)
	if c := s.Counts(); c.Quarantined != 0 {
		t.Errorf("the gateway rests: %+v", c)
	}
	if err := s.Remove(netip.PrefixFrom(gateway, 32)); err != nil {
		t.Errorf("the part of the gateway: %v", err)
	}
}

// The answer of the wire comes later than the question: what became of the address meanwhile stays.
func TestAnAnswerOfTheWireChangesNothingOfWhatIsNotFreeAnyMore(t *testing.T) {
	s := asking(t)
	held := take(t, s, web, 0)
	s.Occupied(held, 0, time.Minute)
	if !s.Holds(held) {
		t.Errorf("%s is held no more", held)
	}
	// A gateway, one of a part of others, of a block of others, of no pool.
	for _, gone := range []netip.Addr{addr("10.0.0.1"), addr("10.0.0.9"), addr("10.0.0.20"), addr("192.0.2.1")} {
		s.Occupied(gone, 0, time.Minute)
		s.Asked(gone)
		if s.Holds(gone) || slices.Contains(s.Unasked(100), gone) {
			t.Errorf("%s has become one of these", gone)
		}
	}
	s.Asked(held)
	s.Release(held, web, 0, 0)
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

func TestAnAddressThatAMachineHasIsGivenToNobodyForAWhile(t *testing.T) {
	s := asking(t)
	kept, held, fresh := take(t, s, web, 0), take(t, s, web, 0), s.Unasked(1)[0]
	s.Asked(fresh)
	s.Release(kept, web, 0, 0)
	for _, a := range []netip.Addr{kept, held, fresh, addr("10.0.0.1"), addr("10.0.0.20"), addr("192.0.2.1")} {
		s.Barred(a, 0, time.Minute)
		s.Barred(a, 0, 2*time.Minute) // again
	}
	if c := s.Counts(); c.Quarantined != 2 || !s.Holds(held) {
		t.Errorf("held is %t, and the counts are %+v", s.Holds(held), c)
	}
	if given := drain(s, web, 2*time.Minute-1, true); slices.Contains(given, kept) || slices.Contains(given, fresh) {
		t.Errorf("given are %v", given)
	}
	for range 2 {
		if g, outcome := s.Allocate(web, 2*time.Minute, true); outcome != Taken || g.Source != Fresh || !g.Probe {
			t.Errorf("after its rest it is %+v: want it to be asked for first", g)
		}
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}
