package block_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// refused does a thing that has to fail, with an error that says what was tried.
func refused(l *lab.Lab, says string, want func(error) bool, err error) {
	l.Helper()
	if err == nil || !want(err) || !strings.Contains(err.Error(), "lease: "+says) {
		l.Errorf("%s: the error is %v", says, err)
	}
}

func TestNothingIsGivenWhileTheStateIsRecovered(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	c := l.Apply(s, lab.Smallest())
	pool, revision := c.Pools["default"], c.PoolRevisions["default"]
	b, gone := l.Away(c, "n2", "10.42.16.0/26")
	l.Void(s)
	x := l.Join(s, "n1")
	recovering := func(err error) bool { return errors.Is(err, session.ErrRecovering) }
	refused(l, `claim block 10.42.17.0/26 in pool "default" for node "n1"`, recovering,
		lab.Second(block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.17.0/26"))))
	refused(l, `claim address 10.42.17.9 of node "n1" itself in pool "default"`, recovering,
		lab.Second(block.ClaimMachine(t.Context(), x.Session, pool, revision, lab.Addr("10.42.17.9"), false)))
	refused(l, `take over block 10.42.16.0/26 in pool "default" from node "n2" for node "n1"`, recovering,
		lab.Second(block.TakeOver(t.Context(), x.Session, b, revision, gone)))
	mine := b.Moved(b.Prefix, "n2", "n1")
	refused(l, `transfer 10.42.16.0/27 of pool "default" from node "n1" to node "n3"`, recovering,
		lab.Second(block.Transfer(t.Context(), x.Session, mine, lab.Prefix("10.42.16.0/27"), record.Demand{Pool: "default", Node: "n3"})))
	if now := blockNow(l); now.Revision != b.Revision {
		t.Errorf("the block has become %+v", now)
	}
}

func TestAFormerIncarnationOfANodeChangesNothing(t *testing.T) {
	l, _, n, b := given(t)
	l.Join(l.Store(), "n1")
	x, part := n[0], lab.Prefix("10.42.16.32/27")
	c := configOf(l)
	replaced := func(err error) bool { return errors.Is(err, session.ErrReplaced) }
	refused(l, `release 10.42.16.32/27 of block 10.42.16.0/26 in pool "default" of node "n1"`, replaced,
		lab.Second(block.Release(t.Context(), x.Session, b, part)))
	refused(l, `resolve block 10.42.16.0/26 in pool "default" for node "n1"`, replaced, lab.Second(block.Resolve(t.Context(), x.Session, b)))
	other := lab.Prefix("10.42.17.0/26")
	refused(l, `assert block 10.42.17.0/26 in pool "default" for node "n1"`, replaced,
		lab.Second(block.Assert(t.Context(), x.Session, "default", other, []netip.Prefix{other})))
	refused(l, `claim address 10.42.17.9 of node "n1" itself`, replaced, lab.Second(l.OwnAddress(x, c, "10.42.17.9", false)))
	if now := blockNow(l); now.Revision != b.Revision {
		t.Errorf("the block has become %+v", now)
	}
}

func TestABlockWhoseRecordIsDamagedIsChangedByNobody(t *testing.T) {
	l, revision, n, b := given(t)
	s, x := l.Store(), n[0].Session
	c := configOf(l)
	key := s.KV.Keys.Block("default", b.Prefix)
	at := l.Put(key, "{")
	part, d := lab.Prefix("10.42.16.32/27"), l.Demand(n[1])
	damaged := func(err error) bool { return kv.Damage(err) != nil && kv.Damage(err).Key == key }
	refused(l, "claim block", damaged, lab.Second(block.Claim(t.Context(), x, "default", revision, b.Prefix)))
	refused(l, "assert block", damaged, lab.Second(block.Assert(t.Context(), x, "default", b.Prefix, []netip.Prefix{part})))
	refused(l, "release", damaged, lab.Second(block.Release(t.Context(), x, b, part)))
	refused(l, "transfer", damaged, lab.Second(block.Transfer(t.Context(), x, b, part, d)))
	refused(l, "claim address", damaged, lab.Second(l.OwnAddress(n[0], c, "10.42.16.9", true)))
	refused(l, "release address", damaged,
		lab.Second(block.ReleaseMachine(t.Context(), x, c.Pools["default"], revision, lab.Addr("10.42.16.9"))))
	if err := lab.Second(block.Resolve(t.Context(), x, b)); !damaged(err) {
		t.Errorf("resolve: %v", err)
	}
	reserved := s.KV.Keys.Reservation("default", lab.Addr("10.42.0.9"))
	l.Put(reserved, "{")
	if err := lab.Second(l.OwnAddress(n[0], c, "10.42.0.9", false)); kv.Damage(err) == nil || kv.Damage(err).Key != reserved {
		t.Errorf("an address with a damaged reservation: %v", err)
	}
	if response, err := s.KV.Get(t.Context(), key); err != nil || kv.RevisionOf(response.Kvs) != at {
		t.Errorf("the record was written: %v, %v", response, err)
	}
}

func TestAnAbsentNodesBlockWhoseRecordIsDamagedIsNotTakenOver(t *testing.T) {
	l := lab.New(t)
	c := l.Apply(l.Store(), lab.Smallest())
	b, gone := l.Away(c, "n2", "10.42.16.0/26")
	l.Put(l.Store().KV.Keys.Block("default", b.Prefix), "{")
	err := lab.Second(block.TakeOver(t.Context(), l.Join(l.Store(), "n1").Session, b, c.PoolRevisions["default"], gone))
	if kv.Damage(err) == nil {
		t.Errorf("the error is %v", err)
	}
}

func TestNothingIsClaimedOfAPoolThatIsNotThere(t *testing.T) {
	l := lab.New(t)
	x := l.Join(l.Store(), "n1")
	for _, revision := range []int64{-1, 0} {
		err := lab.Second(block.Claim(t.Context(), x.Session, "default", revision, lab.Prefix("10.42.16.0/26")))
		if !errors.Is(err, record.ErrStaleConfig) {
			t.Errorf("by revision %d: %v", revision, err)
		}
	}
}
