package fence

import (
	"net/netip"
	"testing"
	"time"
)

// long is a right that outlasts a test.
func long() map[string]time.Duration {
	return map[string]time.Duration{"stateless": time.Hour, "stateful": time.Hour}
}

func only(class string, d time.Duration) map[string]time.Duration {
	return map[string]time.Duration{class: d}
}

// prove arms and opens.
func prove(t testing.TB, k *Table, whole map[string]time.Duration) {
	t.Helper()
	must(t, k.Arm(whole))
	must(t, k.Open())
}

func expectFenced(t *testing.T, k *Table, want bool) {
	t.Helper()
	got, err := k.Fenced()
	must(t, err)
	if got != want {
		t.Errorf("fenced: %v, want %v", got, want)
	}
}

func TestAPortPassesOnlyWhileASlotOfItsClassIsOpen(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	other, inOther := newContainer(t, k, host, 2)
	must(t, k.Join(p.in("stateful")))
	gateway := prefixes("10.42.0.1/16", "fd42::1/64")
	must(t, k.SetFence(true, long()))
	for i := range p.Addresses {
		for _, way := range []struct {
			name     string
			from, to space
			at       netip.Prefix
		}{
			{"host to container", host, inside, p.Addresses[i]},
			{"container to host", inside, host, gateway[i]},
			{"container to container", inOther, inside, p.Addresses[i]},
			{"and back", inside, inOther, other.Addresses[i]},
		} {
			at := way.at.Addr()
			prove(t, k, long())
			if !hears(t, way.from, way.to, at, patience) {
				t.Errorf("%s, %v: nothing passes while both classes are open", way.name, at)
			}
			must(t, k.CloseAll())
			prove(t, k, only("stateless", time.Hour))
			if hears(t, way.from, way.to, at, silence) {
				t.Errorf("%s, %v: it passes though class stateful is closed", way.name, at)
			}
		}
	}
	prove(t, k, long())
	must(t, k.Leave(p.Name))
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("a port in no class passes")
	}
}

func TestTheKernelClosesByItselfWhenTheRightRunsOut(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	must(t, k.SetFence(true, long()))
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Fatal("nothing passes at first")
	}
	must(t, k.CloseAll())
	prove(t, k, only("stateless", 3*time.Second))
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("nothing passes while the right lasts")
	}
	k.Close() // nobody is there any more
	time.Sleep(3*time.Second + 100*time.Millisecond)
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("it passes after the right has run out")
	}
}

func TestAPauseBeforeOpenOpensNothingThatHasRunOut(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Fatal("nothing passes at first")
	}
	must(t, k.SetFence(true, nil))
	must(t, k.Arm(only("stateless", 100*time.Millisecond)))
	time.Sleep(200 * time.Millisecond)
	must(t, k.Open())
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("it passes, by a right that had run out")
	}
	prove(t, k, only("stateless", time.Hour))
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("nothing passes by the next proof")
	}
}

func TestArmingAloneOpensNothing(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Fatal("nothing passes at first")
	}
	must(t, k.SetFence(true, nil))
	for range 3 {
		// Both slots were open once: the old lock must not serve the new timer.
		prove(t, k, only("stateless", 50*time.Millisecond))
		prove(t, k, only("stateless", 50*time.Millisecond))
		time.Sleep(100 * time.Millisecond)
		must(t, k.Arm(long()))
		if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
			t.Error("it passes before the proof's answer")
		}
		must(t, k.Arm(long()))
		must(t, k.CloseAll())
		if err := k.Open(); !mentions(err, "Arm") {
			t.Errorf("open after all was closed: error %v: want one that asks for Arm", err)
		}
		if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
			t.Error("it passes after all was closed")
		}
	}
}

func TestArmingAndOpeningAgainAndAgainLosesNothing(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	must(t, k.SetFence(true, long()))
	s := newStream(t, host, inside, p.Addresses[0].Addr())
	for range 10 {
		must(t, k.Arm(long()))
		s.Lasts()
		must(t, k.Open())
		s.Lasts()
	}
	if n := s.Lost(); n != 0 {
		t.Errorf("%d datagrams are lost", n)
	}
}

func TestTheFenceOutlivesTheAgentWithoutAGap(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	must(t, k.SetFence(true, long()))
	s := newStream(t, host, inside, p.Addresses[0].Addr())
	for i := range 4 {
		for range i % 2 { // either slot may be in use
			prove(t, k, long())
		}
		if i > 1 {
			must(t, k.Arm(only("stateless", 2*time.Hour))) // not opened: the other slot is in use, whatever the times
		}
		k.Close()
		k = openIn(t, host)
		expectFenced(t, k, true)
		must(t, k.SetFence(true, nil))
		must(t, k.Arm(long()))
		s.Lasts()
		must(t, k.Open())
		s.Lasts()
	}
	if n := s.Lost(); n != 0 {
		t.Errorf("%d datagrams are lost", n)
	}
}

func TestOfTwoOpenSlotsTheLongerOneIsInUseAfterARestart(t *testing.T) {
	k, host := newHost(t)
	must(t, k.SetFence(true, only("stateful", time.Minute)))
	prove(t, k, long())
	for _, want := range []int{1, 0, 1} {
		k.Close()
		k = openIn(t, host)
		if got := k.strict.last[1]; got != want {
			t.Errorf("slot %d is in use, want %d", got, want)
		}
		time.Sleep(20 * time.Millisecond)
		prove(t, k, long())
	}
}

func TestStrictModeBeginsAndEndsWithoutALoss(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	expectFenced(t, k, false)
	s := newStream(t, host, inside, p.Addresses[0].Addr())
	for range 5 {
		must(t, k.SetFence(true, only("stateless", time.Hour)))
		expectFenced(t, k, true)
		s.Lasts()
		must(t, k.SetFence(false, nil))
		expectFenced(t, k, false)
		s.Lasts()
	}
	if n := s.Lost(); n != 0 {
		t.Errorf("%d datagrams are lost", n)
	}
}

func TestStrictModeBeginsWithWhatIsLeftOfTheRightOnly(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	passes := func(within time.Duration) bool { return hears(t, host, inside, p.Addresses[0].Addr(), within) }
	if !passes(patience) {
		t.Fatal("nothing passes at first")
	}
	for _, left := range []map[string]time.Duration{nil, only("stateful", time.Hour), only("stateless", 0),
		only("stateless", time.Microsecond)} {
		must(t, k.SetFence(true, left))
		if passes(silence) {
			t.Errorf("it passes with %v left", left)
		}
		must(t, k.SetFence(true, long()))
		if passes(silence) {
			t.Error("it passes by strict mode being set again")
		}
		prove(t, k, long())
		must(t, k.SetFence(false, nil))
		if !passes(patience) {
			t.Error("nothing passes in evidence mode")
		}
	}
	must(t, k.SetFence(true, only("stateless", 50*time.Millisecond)))
	time.Sleep(150 * time.Millisecond)
	if passes(silence) {
		t.Error("it passes when what was left is over")
	}
}

func TestAFlushedFenceComesBackClosed(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	passes := func(within time.Duration) bool { return hears(t, host, inside, p.Addresses[0].Addr(), within) }
	must(t, k.SetFence(true, long()))
	if !passes(patience) {
		t.Fatal("nothing passes at first")
	}
	for name, restore := range map[string]func(){
		"EnsureTable":                  func() { must(t, k.EnsureTable()) },
		"Join":                         func() { must(t, k.Join(anyone("bthother", "stateful"))); must(t, k.Leave("bthother")) },
		"SetFence":                     func() { must(t, k.SetFence(true, long())) },
		"CloseAll":                     func() { must(t, k.CloseAll()) },
		"Arm":                          func() { must(t, k.Arm(long())) },
		"EnsureTable between the two":  func() { must(t, k.EnsureTable()); _ = k.Open() },
		"Open, of what was armed once": func() { _ = k.Open() },
	} {
		must(t, k.Arm(long()))
		flush(host)
		restore()
		expectFenced(t, k, true)
		if passes(silence) {
			t.Errorf("%s: it passes", name)
		}
		prove(t, k, long())
		if !passes(patience) {
			t.Errorf("%s: nothing passes by the next proof", name)
		}
	}
}

func TestATimeThatTheKernelWouldTakeForForeverIsRefused(t *testing.T) {
	k, _ := newHost(t)
	for _, d := range []time.Duration{0, -time.Second, time.Millisecond - 1} {
		if err := k.Arm(only("stateful", d)); !mentions(err, "stateful", "1ms") {
			t.Errorf("%v: error %v: want one that names the class and the least time", d, err)
		}
	}
	if err := k.Arm(only("other", time.Hour)); !mentions(err, "stateless", "stateful") {
		t.Errorf("error %v: want one that names the classes", err)
	}
	if err := k.SetFence(true, only("other", time.Hour)); !mentions(err, "stateless", "stateful") {
		t.Errorf("error %v: want one that names the classes", err)
	}
}
