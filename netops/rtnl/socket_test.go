package rtnl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/nettest"
)

// newBridge opens a socket in a fresh namespace with a bridge, whose index it tells.
func newBridge(t *testing.T) (s *Socket, index int) {
	t.Helper()
	s = socketIn(t, newSpace(t))
	must(t, s.Do(MakeBridge("br", net.HardwareAddr{0xbe, 0, 0, 0, 0, 1}, 1500)))
	bridge, err := LinkNamed(s, "br")
	must(t, err)
	return s, bridge.Index
}

// put asks for an address of the bridge.
func put(index int, prefix string) Request {
	return PutAddress(index, PlainAddress(netip.MustParsePrefix(prefix)), "add "+prefix)
}

func expectAddresses(t *testing.T, s *Socket, index int, want ...string) {
	t.Helper()
	held, err := AddressesOf(s, unix.AF_UNSPEC, index)
	must(t, err)
	var got []string
	for _, a := range held {
		got = append(got, a.Prefix.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

func TestAnErrorSaysWhatWasAskedForAndWhatTheKernelSays(t *testing.T) {
	s, index := newBridge(t)
	err := s.Do(ChangeLink(index, "make it tiny", 0, WithMTU(1<<30)))
	if !errors.Is(err, unix.EINVAL) || !nettest.Mentions(err, "make it tiny", "mtu") {
		t.Errorf("error %v: want EINVAL, with what was asked for and the kernel's words about the MTU", err)
	}
}

func TestARequestThatFailsKeepsNoOtherFromBeingCarriedOut(t *testing.T) {
	s, index := newBridge(t)
	if err := s.Do(put(index, "10.0.0.1/24"), put(index, "ff02::5/64"), put(index, "10.0.1.1/24")); !nettest.Mentions(err, "ff02::5") {
		t.Errorf("error %v: want one about the multicast address", err)
	}
	expectAddresses(t, s, index, "10.0.0.1/24", "10.0.1.1/24")
}

func TestMoreRequestsThanOneSendTakesAreAllCarriedOut(t *testing.T) {
	s, index := newBridge(t)
	var requests []Request
	var want []string
	for i := range 2*batch + 1 {
		want = append(want, fmt.Sprintf("10.%d.0.1/24", i))
		requests = append(requests, put(index, want[i]))
	}
	must(t, s.Do(requests...))
	expectAddresses(t, s, index, want...)
}

func TestStepsAreDoneAsAWholeOrUndone(t *testing.T) {
	s, index := newBridge(t)
	step := func(prefix string) Step {
		return Step{Do: put(index, prefix), Undo: DropAddress(index, PlainAddress(netip.MustParsePrefix(prefix)), "undo")}
	}
	steps := []Step{step("10.0.0.1/24"), step("10.0.1.1/24")}
	if err := CarryOut(s, append(slices.Clone(steps), step("ff02::5/64"))); !nettest.Mentions(err, "ff02::5") {
		t.Errorf("error %v: want one about the step that failed", err)
	}
	expectAddresses(t, s, index)
	for range 2 { // what is done already is no failure
		must(t, CarryOut(s, steps))
		expectAddresses(t, s, index, "10.0.0.1/24", "10.0.1.1/24")
	}
}

func TestASocketIsLentAgainUnlessItIsBroken(t *testing.T) {
	p := NewPool(newSpace(t).Open())
	defer p.Close()
	lend := func(broken bool) (lent *Socket) {
		must(t, p.With(func(s *Socket) error { lent, s.broken = s, broken; return nil }))
		return lent
	}
	first := lend(false)
	if lend(true) != first {
		t.Error("a socket that came back is not lent again")
	}
	if lend(false) == first {
		t.Error("a broken socket is lent again")
	}
}

func TestAttributesEndAtTheFirstThatIsMalformed(t *testing.T) {
	whole := slices.Concat(textAttr(1, "a").Serialize(), numberAttr(2, 7).Serialize())
	for cut := range len(whole) + 1 {
		want := 0
		switch {
		case cut == len(whole):
			want = 2
		case cut >= 6: // of 8 bytes two are padding
			want = 1
		}
		n := 0
		for kind := range Attributes(whole[:cut]) {
			n++
			if int(kind) != n {
				t.Errorf("of %d bytes: attribute %d is of kind %d", cut, n, kind)
			}
		}
		if n != want {
			t.Errorf("of %d bytes: %d attributes, want %d", cut, n, want)
		}
	}
}
