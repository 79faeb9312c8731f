package allocator

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestWhatIsSubtractedLeavesTheFewestPrefixes(t *testing.T) {
	prefixes := func(text ...string) (all []netip.Prefix) {
		for _, s := range text {
			all = append(all, prefix(s))
		}
		return all
	}
	for _, c := range []struct {
		whole      string
		cuts, left []netip.Prefix
	}{
		{"10.0.0.0/24", nil, prefixes("10.0.0.0/24")},
		{"10.0.0.0/24", prefixes("10.0.1.0/24"), prefixes("10.0.0.0/24")},
		{"10.0.0.0/24", prefixes("10.0.0.0/16"), nil},
		{"10.0.0.0/24", prefixes("10.0.0.0/25", "10.0.0.128/25"), nil},
		{"10.0.0.0/30", prefixes("10.0.0.2/32"), prefixes("10.0.0.0/31", "10.0.0.3/32")},
		{"fd00::/126", prefixes("fd00::3/128", "fd00::/128"), prefixes("fd00::1/128", "fd00::2/128")},
		{"fd00::/62", prefixes("fd00:0:0:1::/64"), prefixes("fd00::/64", "fd00:0:0:2::/63")},
	} {
		if got := Subtract(prefix(c.whole), c.cuts); !slices.Equal(got, c.left) {
			t.Errorf("%s without %v leaves %v, want %v", c.whole, c.cuts, got, c.left)
		}
	}
}

// wide owns 10.0.0.0/25 of a pool whose gateway is .1: .2 to .127 are usable.
func wide() *Space {
	p := Pool{Name: "p", CIDRs: []netip.Prefix{prefix("10.0.0.0/24")}, Gateways: []netip.Addr{addr("10.0.0.1")},
		BlockSize: BlockSize{V4: 25}}.WithDefaults()
	s := NewSpace(&p, V4)
	s.Add(prefix("10.0.0.0/25"), false)
	return s
}

func TestHalvesAreGivenUntilTheLastAddressIs(t *testing.T) {
	s := wide()
	given := 0
	for _, want := range []string{"10.0.0.0/26", "10.0.0.64/27", "10.0.0.96/28", "10.0.0.112/29", "10.0.0.120/30", "10.0.0.124/31",
		"10.0.0.126/32", "10.0.0.127/32"} {
		before := s.Counts().Free
		part, ok := s.Half(0, 0)
		if !ok || part != prefix(want) {
			t.Fatalf("of %d free ones %v is given, want %s", before, part, want)
		}
		given += before - s.Counts().Free
		if s.Owns(part.Addr()) {
			t.Errorf("%v is given and still owned", part)
		}
	}
	if part, ok := s.Half(0, 0); ok || given != 126 {
		t.Errorf("%d were given, and then %v", given, part)
	}
}

func TestNoPartOfMoreThanLargestHalfIsGivenHoweverMuchIsSpare(t *testing.T) {
	p := Pool{Name: "p", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}}.WithDefaults()
	p.BlockSize.V4 = 22
	s := NewSpace(&p, V4)
	s.Add(prefix("10.0.4.0/22"), false)
	if part, ok := s.Half(0, 0); !ok || 1<<(32-part.Bits()) != LargestHalf {
		t.Errorf("%v is given, want %d addresses", part, LargestHalf)
	}
}

func TestOnlyWhatNobodyHereWaitsForIsGiven(t *testing.T) {
	for keep, want := range map[int]string{0: "10.0.0.0/30", 2: "10.0.0.0/30", 3: "10.0.0.2/32", 5: "10.0.0.2/32"} {
		s := newSpace(t) // .2 to .7
		if part, ok := s.Half(0, keep); !ok || part != prefix(want) {
			t.Errorf("while %d wait, %v is given, want %s", keep, part, want)
		}
	}
	for _, keep := range []int{6, 7} {
		s := newSpace(t)
		if part, ok := s.Half(0, keep); ok || s.Counts().Free != 6 {
			t.Errorf("while %d wait for 6 addresses, %v is given", keep, part)
		}
	}
}

func TestWhatIsHeldOrQuarantinedStays(t *testing.T) {
	s := newSpace(t)
	all := drain(s, web, 0, false)
	s.Release(all[2], web, 0, time.Minute)
	if part, ok := s.Half(59*time.Second, 0); ok {
		t.Errorf("%v is given: all is held or quarantined", part)
	}
	if at, ok := s.Rest(); !ok || at != time.Minute {
		t.Errorf("the quarantine ends at %v, %v", at, ok)
	}
	if part, ok := s.Half(time.Minute, 0); !ok || part != netip.PrefixFrom(all[2], 32) {
		t.Errorf("after the quarantine %v is given, want %v", part, all[2])
	}
	if _, ok := s.Rest(); ok {
		t.Error("a quarantine is left")
	}
}

func TestWhatIsKeptForItsAppIsGivenLast(t *testing.T) {
	s := newSpace(t)
	all := drain(s, web, 0, false)
	for i, a := range all[:4] { // .2 to .5
		s.Release(a, web, Instant(i), 0)
	}
	s.Undo(all[5]) // never used
	for _, want := range []string{"10.0.0.7/32", "10.0.0.0/30", "10.0.0.4/32", "10.0.0.5/32"} {
		if part, ok := s.Half(time.Second, 0); !ok || part != prefix(want) {
			t.Errorf("%v is given, want %s", part, want)
		}
	}
}

func TestNothingIsGivenOfABlockThatIsToStayAsItIs(t *testing.T) {
	s := wide()
	s.Add(prefix("10.0.0.128/25"), false)
	if part, ok := s.Half(0, 0, prefix("10.0.0.0/25")); !ok || part != prefix("10.0.0.128/26") {
		t.Errorf("besides the lower block %v is given", part)
	}
	if part, ok := s.Half(0, 0, prefix("10.0.0.0/25"), prefix("10.0.0.128/25")); ok {
		t.Errorf("besides both %v is given", part)
	}
}
