package record_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestPartsAreWrittenInOneWay(t *testing.T) {
	whole := lab.Prefix("10.0.0.0/26")
	for _, c := range []struct{ from, want []record.Part }{
		{lab.Parts("10.0.0.32/27", "a", "10.0.0.0/27", "a"), lab.Parts("10.0.0.0/26", "a")},
		{lab.Parts("10.0.0.32/27", "a", "10.0.0.16/28", "a", "10.0.0.0/28", "a"), lab.Parts("10.0.0.0/26", "a")},
		{lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "b"), lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "b")},
		{lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a"), lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a")},
		{lab.Parts("10.0.0.16/28", "a", "10.0.0.32/28", "a"), lab.Parts("10.0.0.16/28", "a", "10.0.0.32/28", "a")}, // not siblings
		{lab.Parts("10.0.0.0/26", "a"), lab.Parts("10.0.0.0/26", "a")},
	} {
		if got := record.Canonical(whole, slices.Clone(c.from)); !slices.Equal(got, c.want) {
			t.Errorf("%v is written %v, want %v", c.from, got, c.want)
		}
	}
}

func TestAPartMovesWithWhatIsSaidOfIt(t *testing.T) {
	b := record.Block{Prefix: lab.Prefix("10.0.0.0/26"), Parts: lab.Parts("10.0.0.0/27", "!a", "10.0.0.32/27", "b")}
	if got := b.Moved(lab.Prefix("10.0.0.8/29"), "a", "c"); !slices.Equal(got.Parts,
		lab.Parts("10.0.0.0/29", "!a", "10.0.0.8/29", "!c", "10.0.0.16/28", "!a", "10.0.0.32/27", "b")) {
		t.Errorf("given: %v", got.Parts)
	}
	free := b.Moved(b.Prefix, "a", "")
	if !slices.Equal(free.Parts, lab.Parts("10.0.0.32/27", "b")) ||
		!slices.Equal(free.Uncovered(), []netip.Prefix{lab.Prefix("10.0.0.0/27")}) {
		t.Errorf("released: %v, and nobody's is %v", free.Parts, free.Uncovered())
	}
	if got := free.Covered("b"); !slices.Equal(got.Parts, lab.Parts("10.0.0.0/26", "b")) {
		t.Errorf("claimed: %v", got.Parts)
	}
	if len(b.Parts) != 2 {
		t.Errorf("the block itself has become %v", b.Parts)
	}
}
