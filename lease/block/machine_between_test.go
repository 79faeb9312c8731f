package block_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// meddled is a store to which something happens once, after it has read by an operation and before it writes. It begins to
// count when it is armed.
func meddled(l *lab.Lab, operation string, meddle func()) (s *lab.Store, arm func()) {
	var armed atomic.Bool
	var once sync.Once
	s = l.Store(func(o *kv.Options) {
		o.Observe = func(what string, _ time.Duration, _ bool, _ error) {
			if what == operation && armed.Load() {
				once.Do(meddle)
			}
		}
	})
	return s, func() { armed.Store(true) }
}

func TestANodesOwnAddressIsClaimedByWhatIsThereWhenItIsWritten(t *testing.T) {
	taken := func(err error) bool { _, is := errors.AsType[*record.TakenError](err); return is }
	for name, c := range map[string]struct {
		address string
		meddle  func(l *lab.Lab, s *lab.Store, other *lab.Joined, config *config.Config) error
		refusal func(error) bool
	}{
		"another node has claimed the block": {"10.42.16.9", func(l *lab.Lab, _ *lab.Store, other *lab.Joined, config *config.Config) error {
			_, err := block.Claim(l.Context(), other.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.16.0/26"))
			return err
		}, func(err error) bool { return errors.Is(err, block.ErrTaken) }},
		"somebody has reserved it": {"10.42.0.9", func(l *lab.Lab, s *lab.Store, _ *lab.Joined, config *config.Config) error {
			return l.Reserves(s, config, lab.Identity("db", 1), "10.42.0.9")
		}, taken},
		"the pool was changed": {"10.42.16.9", func(l *lab.Lab, s *lab.Store, _ *lab.Joined, current *config.Config) error {
			pool := current.Pools["default"]
			pool.MTU = 1400
			_, err := s.Editor.Apply(l.Context(), current, lab.With(current, pool), config.Note{})
			return err
		}, func(err error) bool { return errors.Is(err, record.ErrStaleConfig) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			// The block of the reserved address is there already: that the reservation is new is all that shows.
			l.Check(l.Reserves(s, config, lab.Identity("db", 0), "10.42.0.5"))
			other := l.Join(l.Store(), "n2")
			meddled, arm := meddled(l, "read block", func() { l.Check(c.meddle(l, s, other, config)) })
			x := l.Join(meddled, "n1")
			arm()
			if _, err := l.OwnAddress(x, config, c.address, false); !c.refusal(err) {
				t.Errorf("the error is %v", err)
			}
			if owner := l.MachineOf(s, c.address); owner != "" {
				t.Errorf("it is node %s's own", owner)
			}
		})
	}
}

func TestWhatWasPublishedOfAnAddressGoesWhenItIsTheNodesOwn(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b := l.Claims(x, config, "10.42.16.0/26")
	held := lab.Assigned("10.42.16.9")
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held}}))
	_, err := l.OwnAddress(x, config, "10.42.16.9", true)
	l.Check(err)
	if a, err := s.Blocks.Assignment(t.Context(), "default", held.Address); err != nil || a != nil {
		t.Errorf("there is still %v, %v", a, err)
	}
}

// What a node gives up that has no machine's address stays as it is, revision and all.
func TestGivingUpAnAddressThatIsNotItsOwnWritesNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	b := l.Claims(x, config, "10.42.16.0/26")
	for _, a := range []string{"10.42.16.9", "10.42.17.9"} { // of a node's block, and of one that is not there
		after, err := block.ReleaseMachine(t.Context(), x.Session, config.Pools["default"], config.PoolRevisions["default"], lab.Addr(a))
		l.Check(err)
		if want := map[string]int64{"10.42.16.9": b.Revision}[a]; after.Revision != want {
			t.Errorf("%s: the block is at revision %d, and was at %d", a, after.Revision, want)
		}
	}
	_, err := block.ReleaseMachine(t.Context(), x.Session, config.Pools["default"], 0, lab.Addr("10.42.16.9"))
	if !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("without a revision of the pool: %v", err)
	}
	_, err = block.ReleaseMachine(t.Context(), x.Session, config.Pools["default"], 1, lab.Addr("10.99.0.1"))
	if !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("beyond the pool: %v", err)
	}
}

// In a block that is kept for reservations another node's own address, and one beside it, stay.
func TestGivingUpAnOwnAddressLeavesTheOthersOfItsBlock(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x, y := l.Join(s, "n1"), l.Join(s, "n2")
	for a, session := range map[string]*lab.Joined{"10.42.16.9": x, "10.42.16.10": x, "10.42.16.11": y} {
		_, err := l.OwnAddress(session, config, a, false)
		l.Check(err)
	}
	_, err := block.ReleaseMachine(t.Context(), x.Session, config.Pools["default"], config.PoolRevisions["default"], lab.Addr("10.42.16.9"))
	l.Check(err)
	for a, want := range map[string]string{"10.42.16.9": "", "10.42.16.10": "n1", "10.42.16.11": "n2"} {
		if owner := l.MachineOf(s, a); owner != want {
			t.Errorf("%s is node %q's own, want %q", a, owner, want)
		}
	}
}

// Whoever finds a block changed by others each time does not go on for ever, and does not say that it is its own.
func TestABlockThatKeepsChangingIsGivenUp(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	b := record.Block{Pool: "default", Prefix: lab.Prefix("10.42.16.0/26"), Parts: lab.Parts("10.42.16.0/27", "n1")}
	key := s.KV.Keys.Block("default", b.Prefix)
	l.Put(key, kv.Encode(b))
	raw := l.Raw()
	x := l.Join(l.Store(func(o *kv.Options) {
		o.Observe = func(what string, _ time.Duration, _ bool, _ error) {
			if what == "assert block" || what == "claim" || what == "read block" {
				if _, err := raw.Put(context.Background(), key, kv.Encode(b)); err != nil {
					t.Error(err)
				}
			}
		}
	}), "n1")
	revision := config.PoolRevisions["default"]
	if err := lab.Second(block.Claim(t.Context(), x.Session, "default", revision, b.Prefix)); !errors.Is(err, block.ErrTaken) {
		t.Errorf("claim: %v", err)
	}
	err := lab.Second(block.Assert(t.Context(), x.Session, "default", b.Prefix, []netip.Prefix{lab.Prefix("10.42.16.32/27")}))
	if !errors.Is(err, block.ErrTaken) {
		t.Errorf("assert: %v", err)
	}
	if _, err := l.OwnAddress(x, config, "10.42.16.9", true); err == nil || !lab.Contains(err, "others keep coming between") {
		t.Errorf("an address of its own: %v", err)
	}
	if now := blockNow(l); now.OwnerOf(lab.Addr("10.42.16.40")) != "" {
		t.Errorf("the block is %+v", now)
	}
}
