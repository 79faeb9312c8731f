package block_test

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestWhatIsMissingOfABlockIsAssertedAndAnothersStays(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	whole := lab.Prefix("10.42.16.0/26")
	one, two := l.Join(s, "n1"), l.Join(l.Store(), "n2")
	mine := []netip.Prefix{lab.Prefix("10.42.16.0/27"), lab.Prefix("10.42.16.40/32")}
	first, err := block.Assert(t.Context(), one.Session, "default", whole, mine)
	l.Check(err)
	again, err := block.Assert(t.Context(), one.Session, "default", whole, mine)
	l.Check(err)
	if again.Revision != first.Revision {
		t.Errorf("asserting what is there wrote %+v over %+v", again, first)
	}
	got, err := block.Assert(t.Context(), two.Session, "default", whole,
		[]netip.Prefix{lab.Prefix("10.42.16.32/27"), lab.Prefix("10.42.16.31/32"), lab.Prefix("10.42.16.41/32")})
	l.Check(err)
	for a, owner := range map[string]string{
		"10.42.16.0": "n1", "10.42.16.31": "n1", "10.42.16.32": "n2", "10.42.16.40": "n1", "10.42.16.41": "n2", "10.42.16.63": "n2",
	} {
		if is := got.OwnerOf(lab.Addr(a)); is != owner {
			t.Errorf("%s is %q's: want %s's", a, is, owner)
		}
	}
}
