package block_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestABlockIsNotSplitWithoutBound(t *testing.T) {
	l := lab.New(t)
	x := l.Join(l.Store(), "n1")
	b := record.Block{Pool: "default", Prefix: lab.Prefix("10.0.0.0/16")}
	d := record.Demand{Pool: "default", Node: "n3"}
	for i := range record.MaxParts - 1 {
		owner := fmt.Sprint("n", 1+i%2)
		b.Parts = append(b.Parts, record.Part{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 6), byte(i << 2)}), 30),
			Owner: owner})
	}
	_, err := block.Transfer(t.Context(), x.Session, b, lab.Prefix("10.0.0.1/32"), d)
	if !errors.Is(err, block.ErrManyParts) {
		t.Errorf("a block of %d parts was split: %v", len(b.Parts), err)
	}
	b.Parts = b.Parts[:record.MaxParts-2] // with two more it has as many as it may
	if _, err := block.Transfer(t.Context(), x.Session, b, lab.Prefix("10.0.0.1/32"), d); errors.Is(err, block.ErrManyParts) {
		t.Errorf("a block of %d parts was not split: %v", len(b.Parts), err)
	}
}
