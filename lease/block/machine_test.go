package block_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestANodesOwnAddressIsItsOwnAndNoOtherNodeClaimsIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x, y := l.Join(s, "n1"), l.Join(s, "n2")
	_, err := l.OwnAddress(x, c, "10.42.16.9", false)
	l.Check(err)
	b := l.Claims(y, c, "10.42.16.0/26")
	if got := b.OwnerOf(lab.Addr("10.42.16.9")); got != record.OwnerMachine || b.OwnerOf(lab.Addr("10.42.16.8")) != "n2" ||
		l.MachineOf(s, "10.42.16.9") != "n1" {
		t.Fatalf("the block is %+v", b)
	}
	l.Check(lab.Second(block.Release(t.Context(), y.Session, b, b.Prefix)))
	if l.MachineOf(s, "10.42.16.9") != "n1" {
		t.Error("the release of the block has given it up")
	}
	b, err = block.ReleaseMachine(t.Context(), x.Session, c.Pools["default"], c.PoolRevisions["default"], lab.Addr("10.42.16.9"))
	l.Check(err)
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("it stays: %v, %v", blocks, err)
	}
}

func TestANodesOwnAddressIsNotTakenFromANodeThatMayAllocateIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x, y := l.Join(s, "n1"), l.Join(s, "n2")
	l.Claims(y, c, "10.42.16.0/26")
	if _, err := l.OwnAddress(x, c, "10.42.16.9", true); !errors.Is(err, block.ErrTaken) {
		t.Fatalf("the error is %v", err)
	}
	if _, err := l.OwnAddress(y, c, "10.42.16.9", false); !errors.Is(err, block.ErrTaken) {
		t.Fatalf("of one in its own allocator: %v", err)
	}
	_, err := l.OwnAddress(y, c, "10.42.16.10", true)
	l.Check(err)

	// The owner is asked for that very address.
	d, err := block.Demand(t.Context(), x.Session, record.Demand{Pool: "default", Machine: []netip.Addr{lab.Addr("10.42.16.9")}})
	l.Check(err)
	blocks, err := s.Blocks.List(t.Context())
	l.Check(err)
	b, err := block.Transfer(t.Context(), y.Session, blocks[0], lab.Prefix("10.42.16.9/32"), d)
	l.Check(err)
	if l.MachineOf(s, "10.42.16.9") != "n1" || b.OwnerOf(lab.Addr("10.42.16.11")) != "n2" || len(demandsNow(l)) != 0 {
		t.Errorf("the block is %+v", b)
	}
}

func TestAnAddressThatMovesBetweenMachinesHasTheNameOfTheLast(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	x, y := l.Join(s, "n1"), l.Join(s, "n2")
	_, err := l.OwnAddress(x, c, "10.42.16.9", false)
	l.Check(err)
	_, err = l.OwnAddress(y, c, "10.42.16.9", false)
	l.Check(err)
	_, err = block.ReleaseMachine(t.Context(), x.Session, c.Pools["default"], c.PoolRevisions["default"], lab.Addr("10.42.16.9"))
	l.Check(err)
	if l.MachineOf(s, "10.42.16.9") != "n2" {
		t.Errorf("it is %q's", l.MachineOf(s, "10.42.16.9"))
	}
}

func TestANodesOwnAddressInAStatefulRangeIsReservedForNobody(t *testing.T) {
	l := lab.New(t)
	s, other := l.Store(), l.Store()
	pool := lab.Small() // of the stateful addresses .8 to .15, .14 is excluded and .15 the broadcast address
	c := l.Apply(s, pool)
	x := l.Join(s, "n1")
	claim := func(a string) error {
		_, err := block.ClaimMachine(t.Context(), x.Session, c.Pools["small"], c.PoolRevisions["small"], lab.Addr(a), false)
		return err
	}
	l.Check(claim("10.1.0.9"))
	reserve := func(n int, asked ...netip.Addr) ([]record.Reservation, error) {
		return other.Reservations.ReserveFor(t.Context(), c.Pools["small"], c.PoolRevisions["small"], lab.Identity("db", n), asked)
	}
	var got []netip.Addr
	for n := range 2 {
		r, err := reserve(n)
		l.Check(err)
		got = append(got, r[0].Address)
	}
	// What one client has seen of the block is out of date when the next address becomes a node's own.
	var free []netip.Addr
	for _, text := range []string{"10.1.0.8", "10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.13"} {
		if a := lab.Addr(text); !slices.Contains(got, a) {
			free = append(free, a)
		}
	}
	l.Check(claim(free[0].String()))
	if _, err := reserve(7, free[0]); err == nil || !lab.Contains(err, "node n1 itself") {
		t.Errorf("it was asked for: %v", err)
	}
	for n := 2; n < 4; n++ {
		r, err := reserve(n)
		l.Check(err)
		got = append(got, r[0].Address)
	}
	slices.SortFunc(got, netip.Addr.Compare)
	if slices.Contains(got, lab.Addr("10.1.0.9")) || slices.Contains(got, free[0]) || len(slices.Compact(got)) != 4 {
		t.Errorf("the members got %v", got)
	}
	if _, err := reserve(9); err == nil {
		t.Error("a member got an address although all are used up")
	}
	if taken, ok := errors.AsType[*record.TakenError](claim(got[0].String())); !ok || !lab.Contains(taken, "ns/db") {
		t.Errorf("a reserved address became a node's own: %v", taken)
	}
	_, err := block.ReleaseMachine(t.Context(), x.Session, c.Pools["small"], c.PoolRevisions["small"], lab.Addr("10.1.0.9"))
	l.Check(err)
	if _, err := reserve(9); err != nil {
		t.Errorf("what the node gave up is not reserved: %v", err)
	}
}
