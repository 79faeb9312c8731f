package lease

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// machineOf is the node whose own an address is by etcd; empty: none's.
func (l *lab) machineOf(s *Store, a string) string {
	l.Helper()
	blocks, err := s.Blocks.List(l.Context())
	l.check(err)
	for _, b := range blocks {
		if p, _ := b.PartOf(addr(a)); p.Owner == record.OwnerMachine {
			return p.Node
		}
	}
	return ""
}

func (l *lab) ownAddress(x *joined, c *config.Config, a string, own bool) (record.Block, error) {
	l.Helper()
	return x.ClaimMachine(l.Context(), c.Pools["default"], c.PoolRevisions["default"], addr(a), own)
}

func TestANodesOwnAddressIsItsOwnAndNoOtherNodeClaimsIt(t *testing.T) {
	l := newLab(t)
	s := l.store()
	c := l.apply(s, smallest())
	x, y := l.join(s, "n1"), l.join(s, "n2")
	_, err := l.ownAddress(x, c, "10.42.16.9", false)
	l.check(err)
	b := l.claims(y, c, "10.42.16.0/26")
	if got := b.OwnerOf(addr("10.42.16.9")); got != record.OwnerMachine || b.OwnerOf(addr("10.42.16.8")) != "n2" ||
		l.machineOf(s, "10.42.16.9") != "n1" {
		t.Fatalf("the block is %+v", b)
	}
	l.check(second(y.ReleaseBlock(t.Context(), b, b.Prefix)))
	if l.machineOf(s, "10.42.16.9") != "n1" {
		t.Error("the release of the block has given it up")
	}
	b, err = x.ReleaseMachine(t.Context(), c.Pools["default"], c.PoolRevisions["default"], addr("10.42.16.9"))
	l.check(err)
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("it stays: %v, %v", blocks, err)
	}
}

func TestANodesOwnAddressIsNotTakenFromANodeThatMayHandItOut(t *testing.T) {
	l := newLab(t)
	s := l.store()
	c := l.apply(s, smallest())
	x, y := l.join(s, "n1"), l.join(s, "n2")
	l.claims(y, c, "10.42.16.0/26")
	if _, err := l.ownAddress(x, c, "10.42.16.9", true); !errors.Is(err, block.ErrTaken) {
		t.Fatalf("the error is %v", err)
	}
	if _, err := l.ownAddress(y, c, "10.42.16.9", false); !errors.Is(err, block.ErrTaken) {
		t.Fatalf("of one in its own allocator: %v", err)
	}
	_, err := l.ownAddress(y, c, "10.42.16.10", true)
	l.check(err)

	// The owner is asked for that very address.
	d, err := x.Demand(t.Context(), record.Demand{Pool: "default", Machine: []netip.Addr{addr("10.42.16.9")}})
	l.check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.check(err)
	b, err := y.Give(t.Context(), blocks[0], prefix("10.42.16.9/32"), d)
	l.check(err)
	if l.machineOf(s, "10.42.16.9") != "n1" || b.OwnerOf(addr("10.42.16.11")) != "n2" || len(l.demands()) != 0 {
		t.Errorf("the block is %+v", b)
	}
}

func TestAnAddressThatMovesBetweenMachinesHasTheNameOfTheLast(t *testing.T) {
	l := newLab(t)
	s := l.store()
	c := l.apply(s, smallest())
	x, y := l.join(s, "n1"), l.join(s, "n2")
	_, err := l.ownAddress(x, c, "10.42.16.9", false)
	l.check(err)
	_, err = l.ownAddress(y, c, "10.42.16.9", false)
	l.check(err)
	_, err = x.ReleaseMachine(t.Context(), c.Pools["default"], c.PoolRevisions["default"], addr("10.42.16.9"))
	l.check(err)
	if l.machineOf(s, "10.42.16.9") != "n2" {
		t.Errorf("it is %q's", l.machineOf(s, "10.42.16.9"))
	}
}

func TestANodesOwnAddressInAStatefulRangeIsReservedForNobody(t *testing.T) {
	l := newLab(t)
	s, other := l.store(), l.store()
	pool := small() // of the stateful addresses .8 to .15, .14 is excluded and .15 the broadcast address
	c := l.apply(s, pool)
	x := l.join(s, "n1")
	claim := func(a string) error {
		_, err := x.ClaimMachine(t.Context(), c.Pools["small"], c.PoolRevisions["small"], addr(a), false)
		return err
	}
	l.check(claim("10.1.0.9"))
	reserve := func(n int, asked ...netip.Addr) ([]record.Reservation, error) {
		return other.Reservations.ReserveFor(t.Context(), c.Pools["small"], c.PoolRevisions["small"], identity("db", n), asked)
	}
	var got []netip.Addr
	for n := range 2 {
		r, err := reserve(n)
		l.check(err)
		got = append(got, r[0].Address)
	}
	// What one client has seen of the block is out of date when the next address becomes a node's own.
	free := slices.DeleteFunc([]netip.Addr{addr("10.1.0.8"), addr("10.1.0.10"), addr("10.1.0.11"), addr("10.1.0.12"), addr("10.1.0.13")},
		func(a netip.Addr) bool { return slices.Contains(got, a) })
	l.check(claim(free[0].String()))
	if _, err := reserve(7, free[0]); err == nil || !contains(err, "node n1 itself") {
		t.Errorf("it was asked for: %v", err)
	}
	for n := 2; n < 4; n++ {
		r, err := reserve(n)
		l.check(err)
		got = append(got, r[0].Address)
	}
	slices.SortFunc(got, netip.Addr.Compare)
	if slices.Contains(got, addr("10.1.0.9")) || slices.Contains(got, free[0]) || len(slices.Compact(got)) != 4 {
		t.Errorf("the members got %v", got)
	}
	if _, err := reserve(9); err == nil {
		t.Error("a member got an address although all are used up")
	}
	if taken, ok := errors.AsType[*record.TakenError](claim(got[0].String())); !ok || !contains(taken, "ns/db") {
		t.Errorf("a reserved address became a node's own: %v", taken)
	}
	_, err := x.ReleaseMachine(t.Context(), c.Pools["small"], c.PoolRevisions["small"], addr("10.1.0.9"))
	l.check(err)
	if _, err := reserve(9); err != nil {
		t.Errorf("what the node gave up is not reserved: %v", err)
	}
}

func TestARemovedNodesOwnAddressesAreGivenBack(t *testing.T) {
	l := newLab(t)
	s := l.store()
	c := l.apply(s, smallest())
	x := l.join(s, "n1")
	for _, a := range []string{"10.42.16.9", "10.42.0.9"} {
		_, err := l.ownAddress(x, c, a, false)
		l.check(err)
	}
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.check(err)
	if len(blocks) != 1 || !blocks[0].OwnedBy(record.OwnerStateful) || len(blocks[0].Parts) != 1 {
		t.Errorf("the blocks are %+v", blocks)
	}
}

func TestANodesOwnAddressKeepsNoPoolFromBeingRemovedAndNoRangeFromGrowing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	c := l.apply(s, smallest())
	x := l.join(s, "n1")
	_, err := l.ownAddress(x, c, "10.42.16.9", false)
	l.check(err)
	grown := c.Pools["default"]
	grown.Stateful = []netip.Prefix{prefix("10.42.0.0/19")}
	c, err = s.Editor.Apply(t.Context(), c, with(c, grown), config.Note{})
	l.check(err)
	if _, err := s.Reservations.ReserveFor(t.Context(), c.Pools["default"], c.PoolRevisions["default"], identity("db", 0),
		[]netip.Addr{addr("10.42.16.10")}); err != nil {
		t.Errorf("beside it nothing can be reserved: %v", err)
	}
	_, err = s.Reservations.End(t.Context(), identity("db", 0), true)
	l.check(err)
	shrunk := c.Pools["default"]
	shrunk.Stateful = nil
	c, err = s.Editor.Apply(t.Context(), c, with(c, shrunk), config.Note{})
	l.check(err)
	if l.machineOf(s, "10.42.16.9") != "n1" {
		t.Error("it was given up with the range")
	}
	_, err = s.Editor.RemovePool(t.Context(), c, "default", config.Note{})
	l.check(err)
}

func TestAGatewayDoesNotMoveOntoANode(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	_, err := l.ownAddress(x, base, "10.42.16.9", false)
	l.check(err)
	l.refusedFor(s, movedTo(base, "10.42.16.9"), "node n1 itself")
}
