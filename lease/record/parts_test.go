package record_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestPartsAreWrittenInOneWay(t *testing.T) {
	for _, c := range []struct{ from, want []record.Part }{
		{lab.Parts("10.0.0.32/27", "a", "10.0.0.0/27", "a"), lab.Parts("10.0.0.0/26", "a")},
		{lab.Parts("10.0.0.32/27", "a", "10.0.0.16/28", "a", "10.0.0.0/28", "a"), lab.Parts("10.0.0.0/26", "a")},
		{lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "b"), lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "b")},
		{lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a"), lab.Parts("10.0.0.0/27", "a", "10.0.0.32/27", "!a")},
		{lab.Parts("10.0.0.16/28", "a", "10.0.0.32/28", "a"), lab.Parts("10.0.0.16/28", "a", "10.0.0.32/28", "a")}, // not siblings
		{lab.Parts("10.0.0.0/29", "a", "10.0.0.16/28", "a"), lab.Parts("10.0.0.0/29", "a", "10.0.0.16/28", "a")},
		{lab.Parts("10.0.0.0/26", "a"), lab.Parts("10.0.0.0/26", "a")},
	} {
		if got := record.Canonical(slices.Clone(c.from)); !slices.Equal(got, c.want) {
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
	if got := b.Moved(b.Prefix, "a", "c"); !slices.Equal(got.Parts, lab.Parts("10.0.0.0/27", "!c", "10.0.0.32/27", "b")) {
		t.Errorf("given with the whole block: %v", got.Parts)
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

// owned is a block of which two nodes have addresses of their own, and another owner the rest.
func owned(rest string) record.Block {
	b := record.Block{Prefix: lab.Prefix("10.0.0.0/30"), Parts: []record.Part{
		{Prefix: lab.Prefix("10.0.0.0/32"), Owner: record.OwnerMachine, Node: "n1"},
		{Prefix: lab.Prefix("10.0.0.1/32"), Owner: record.OwnerMachine, Node: "n2"},
	}}
	return b.Covered(rest)
}

func TestABlockKnowsWhoMayAllocateOfIt(t *testing.T) {
	for _, c := range []struct {
		block             record.Block
		stateful, ofNodes bool
		words             string
	}{
		{record.Block{Prefix: lab.Prefix("10.0.0.0/30")}, false, false, ""},
		{record.Block{Prefix: lab.Prefix("10.0.0.0/30"), Parts: lab.Parts("10.0.0.0/30", "stateful")}, true, false, ""},
		{record.Block{Prefix: lab.Prefix("10.0.0.0/30"), Parts: lab.Parts("10.0.0.0/31", "stateful", "10.0.0.2/31", "a")},
			false, true, "node a"},
		{owned("stateful"), true, false, ""},
		{owned("b"), false, true, "node b"},
		{record.Block{Prefix: lab.Prefix("10.0.0.0/29"), Parts: lab.Parts("10.0.0.0/31", "b", "10.0.0.2/31", "a", "10.0.0.4/30", "b")},
			false, true, "node b and node a"},
	} {
		if b := c.block; b.Stateful() != c.stateful || b.OfNodes() != c.ofNodes || b.OwnersInWords() != c.words {
			t.Errorf("%v: stateful %t, of nodes %t, owned by %q", b.Parts, b.Stateful(), b.OfNodes(), b.OwnersInWords())
		}
	}
}

func TestAnAddressThatANodeGivesUpIsWhatTheRestOfTheBlockIs(t *testing.T) {
	second := record.Part{Prefix: lab.Prefix("10.0.0.1/32"), Owner: record.OwnerMachine, Node: "n2"}
	for rest, want := range map[string][]record.Part{
		"stateful": append(lab.Parts("10.0.0.0/32", "stateful"), append([]record.Part{second}, lab.Parts("10.0.0.2/31", "stateful")...)...),
		"b":        append([]record.Part{second}, lab.Parts("10.0.0.2/31", "b")...),
	} {
		if got := owned(rest).WithoutMachine("n1", lab.Prefix("10.0.0.0/24")); !slices.Equal(got.Parts, want) {
			t.Errorf("beside what is %s: %v, want %v", rest, got.Parts, want)
		}
		if got := owned(rest).WithoutMachine("n1", lab.Prefix("10.0.0.1/32")); !slices.Equal(got.Parts, owned(rest).Parts) {
			t.Errorf("n1 has given up n2's address: %v", got.Parts)
		}
	}
	named := record.Block{Prefix: lab.Prefix("10.0.0.0/30"), Parts: []record.Part{
		{Prefix: lab.Prefix("10.0.0.0/30"), Owner: "b", Node: "n1"}, // a Node beside a node's own part means nothing
	}}
	if got := named.WithoutMachine("n1", named.Prefix); !slices.Equal(got.Parts, named.Parts) {
		t.Errorf("what a node allocates is gone with its own addresses: %v", got.Parts)
	}
}
