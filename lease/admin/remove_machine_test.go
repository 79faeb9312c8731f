package admin_test

import (
	"testing"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestARemovedNodesOwnAddressesAreGivenBack(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	for _, a := range []string{"10.42.16.9", "10.42.0.9"} {
		_, err := l.OwnAddress(x, c, a, false)
		l.Check(err)
	}
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.Check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.Check(err)
	if len(blocks) != 1 || !lab.OwnedBy(blocks[0], record.OwnerStateful) || len(blocks[0].Parts) != 1 {
		t.Errorf("the blocks are %+v", blocks)
	}
}
