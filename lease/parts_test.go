package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

func parts(text ...string) (all []record.Part) {
	for i := 0; i < len(text); i += 2 {
		owner, taken := text[i+1], false
		if owner[0] == '!' {
			owner, taken = owner[1:], true
		}
		all = append(all, record.Part{Prefix: prefix(text[i]), Owner: owner, Taken: taken})
	}
	return all
}

func TestPartsAreWrittenInOneWay(t *testing.T) {
	whole := prefix("10.0.0.0/26")
	for _, c := range []struct{ from, want []record.Part }{
		{parts("10.0.0.32/27", "a", "10.0.0.0/27", "a"), parts("10.0.0.0/26", "a")},
		{parts("10.0.0.32/27", "a", "10.0.0.16/28", "a", "10.0.0.0/28", "a"), parts("10.0.0.0/26", "a")},
		{parts("10.0.0.0/27", "a", "10.0.0.32/27", "b"), parts("10.0.0.0/27", "a", "10.0.0.32/27", "b")},
		{parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a"), parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a")},
		{parts("10.0.0.16/28", "a", "10.0.0.32/28", "a"), parts("10.0.0.16/28", "a", "10.0.0.32/28", "a")}, // not siblings
		{parts("10.0.0.0/26", "a"), parts("10.0.0.0/26", "a")},
	} {
		if got := record.Canonical(whole, slices.Clone(c.from)); !slices.Equal(got, c.want) {
			t.Errorf("%v is written %v, want %v", c.from, got, c.want)
		}
	}
}

func TestAPartMovesWithWhatIsSaidOfIt(t *testing.T) {
	b := record.Block{Prefix: prefix("10.0.0.0/26"), Parts: parts("10.0.0.0/27", "!a", "10.0.0.32/27", "b")}
	if got := b.Moved(prefix("10.0.0.8/29"), "a", "c"); !slices.Equal(got.Parts,
		parts("10.0.0.0/29", "!a", "10.0.0.8/29", "!c", "10.0.0.16/28", "!a", "10.0.0.32/27", "b")) {
		t.Errorf("given: %v", got.Parts)
	}
	free := b.Moved(b.Prefix, "a", "")
	if !slices.Equal(free.Parts, parts("10.0.0.32/27", "b")) || !slices.Equal(free.Uncovered(), []netip.Prefix{prefix("10.0.0.0/27")}) {
		t.Errorf("released: %v, and nobody's is %v", free.Parts, free.Uncovered())
	}
	if got := free.Covered("b"); !slices.Equal(got.Parts, parts("10.0.0.0/26", "b")) {
		t.Errorf("claimed: %v", got.Parts)
	}
	if len(b.Parts) != 2 {
		t.Errorf("the block itself has become %v", b.Parts)
	}
}

func TestABlockIsNotSplitWithoutBound(t *testing.T) {
	x := &joined{Session: session.New(nil, nil).Entrant(node("n1"), 0)}
	b := record.Block{Pool: "default", Prefix: prefix("10.0.0.0/16")}
	for i := range record.MaxParts - 1 {
		owner := fmt.Sprint("n", 1+i%2)
		b.Parts = append(b.Parts, record.Part{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 6), byte(i << 2)}), 30),
			Owner: owner})
	}
	if err := second(x.Give(t.Context(), b, prefix("10.0.0.1/32"), record.Demand{Pool: "default", Node: "n3"})); !errors.Is(err,
		block.ErrManyParts) {
		t.Errorf("a block of %d parts was split: %v", len(b.Parts), err)
	}
}
