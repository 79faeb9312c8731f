package config_test

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestANodesOwnAddressKeepsNoPoolFromBeingRemovedAndNoRangeFromGrowing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	_, err := l.OwnAddress(x, c, "10.42.16.9", false)
	l.Check(err)
	grown := c.Pools["default"]
	grown.Stateful = []netip.Prefix{lab.Prefix("10.42.0.0/19")}
	c, err = s.Editor.Apply(t.Context(), c, lab.With(c, grown), config.Note{})
	l.Check(err)
	if _, err := s.Reservations.ReserveFor(t.Context(), c.Pools["default"], c.PoolRevisions["default"], lab.Identity("db", 0),
		[]netip.Addr{lab.Addr("10.42.16.10")}); err != nil {
		t.Errorf("beside it nothing can be reserved: %v", err)
	}
	_, err = s.Reservations.End(t.Context(), lab.Identity("db", 0), true)
	l.Check(err)
	shrunk := c.Pools["default"]
	shrunk.Stateful = nil
	c, err = s.Editor.Apply(t.Context(), c, lab.With(c, shrunk), config.Note{})
	l.Check(err)
	if l.MachineOf(s, "10.42.16.9") != "n1" {
		t.Error("it was given up with the range")
	}
	_, err = s.Editor.RemovePool(t.Context(), c, "default", config.Note{})
	l.Check(err)
}

func TestAGatewayDoesNotMoveOntoANode(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	_, err := l.OwnAddress(x, base, "10.42.16.9", false)
	l.Check(err)
	refusedFor(l, s, movedTo(base, "10.42.16.9"), "node n1 itself")
}
