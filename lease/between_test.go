package lease

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// meddled is a store to which something happens once, after it has read by an operation and before it writes. It begins to
// count when it is armed.
func (l *lab) meddled(operation string, meddle func()) (s *Store, arm func()) {
	var armed atomic.Bool
	var once sync.Once
	s = l.store(func(o *kv.Options) {
		o.Observe = func(what string, _ time.Duration, _ bool, _ error) {
			if what == operation && armed.Load() {
				once.Do(meddle)
			}
		}
	})
	return s, func() { armed.Store(true) }
}

// reserves reserves an address of the pool default.
func (l *lab) reserves(s *Store, c *config.Config, i allocator.Identity, a string) error {
	_, err := s.Reservations.ReserveFor(l.Context(), c.Pools["default"], c.PoolRevisions["default"], i, []netip.Addr{addr(a)})
	return err
}

// assigned is what is published of an address that container c1 on node n1 has.
func assigned(a string) record.Assignment {
	at := allocator.Attachment{Network: "berth", Container: "c1", Interface: "eth0"}
	return record.Assignment{Pool: "default", Address: addr(a), Node: "n1", Attachment: at}
}

func TestANodesOwnAddressIsClaimedByWhatIsThereWhenItIsWritten(t *testing.T) {
	taken := func(err error) bool { _, is := errors.AsType[*record.TakenError](err); return is }
	for name, c := range map[string]struct {
		address string
		meddle  func(l *lab, s *Store, other *joined, config *config.Config) error
		refusal func(error) bool
	}{
		"another node has claimed the block": {"10.42.16.9", func(l *lab, _ *Store, other *joined, config *config.Config) error {
			_, err := other.ClaimBlock(l.Context(), "default", config.PoolRevisions["default"], prefix("10.42.16.0/26"))
			return err
		}, func(err error) bool { return errors.Is(err, block.ErrTaken) }},
		"somebody has reserved it": {"10.42.0.9", func(l *lab, s *Store, _ *joined, config *config.Config) error {
			return l.reserves(s, config, identity("db", 1), "10.42.0.9")
		}, taken},
		"the pool was changed": {"10.42.16.9", func(l *lab, s *Store, _ *joined, current *config.Config) error {
			pool := current.Pools["default"]
			pool.MTU = 1400
			_, err := s.Editor.Apply(l.Context(), current, with(current, pool), config.Note{})
			return err
		}, func(err error) bool { return errors.Is(err, record.ErrStaleConfig) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			config := l.apply(s, smallest())
			// The block of the reserved address is there already: that the reservation is new is all that shows.
			l.check(l.reserves(s, config, identity("db", 0), "10.42.0.5"))
			other := l.join(l.store(), "n2")
			meddled, arm := l.meddled("read block", func() { l.check(c.meddle(l, s, other, config)) })
			x := l.join(meddled, "n1")
			arm()
			if _, err := l.ownAddress(x, config, c.address, false); !c.refusal(err) {
				t.Errorf("the error is %v", err)
			}
			if owner := l.machineOf(s, c.address); owner != "" {
				t.Errorf("it is node %s's own", owner)
			}
		})
	}
}

func TestWhatWasPublishedOfAnAddressGoesWhenItIsTheNodesOwn(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	b := l.claims(x, config, "10.42.16.0/26")
	held := assigned("10.42.16.9")
	l.check(x.Publish(t.Context(), rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{held}}))
	_, err := l.ownAddress(x, config, "10.42.16.9", true)
	l.check(err)
	if a, err := s.Blocks.Assignment(t.Context(), "default", held.Address); err != nil || a != nil {
		t.Errorf("there is still %v, %v", a, err)
	}
}

// What a node gives up that has no machine's address stays as it is, revision and all.
func TestGivingUpAnAddressThatIsNotItsOwnWritesNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x := l.join(s, "n1")
	b := l.claims(x, config, "10.42.16.0/26")
	for _, a := range []string{"10.42.16.9", "10.42.17.9"} { // of a node's block, and of one that is not there
		after, err := x.ReleaseMachine(t.Context(), config.Pools["default"], config.PoolRevisions["default"], addr(a))
		l.check(err)
		if want := map[string]int64{"10.42.16.9": b.Revision}[a]; after.Revision != want {
			t.Errorf("%s: the block is at revision %d, and was at %d", a, after.Revision, want)
		}
	}
	if _, err := x.ReleaseMachine(t.Context(), config.Pools["default"], 0, addr("10.42.16.9")); !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("without a revision of the pool: %v", err)
	}
	if _, err := x.ReleaseMachine(t.Context(), config.Pools["default"], 1, addr("10.99.0.1")); !errors.Is(err, record.ErrStaleConfig) {
		t.Errorf("beyond the pool: %v", err)
	}
}

// In a block that is kept for reservations another node's own address, and one beside it, stay.
func TestGivingUpAnOwnAddressLeavesTheOthersOfItsBlock(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x, y := l.join(s, "n1"), l.join(s, "n2")
	for a, session := range map[string]*joined{"10.42.16.9": x, "10.42.16.10": x, "10.42.16.11": y} {
		_, err := l.ownAddress(session, config, a, false)
		l.check(err)
	}
	_, err := x.ReleaseMachine(t.Context(), config.Pools["default"], config.PoolRevisions["default"], addr("10.42.16.9"))
	l.check(err)
	for a, want := range map[string]string{"10.42.16.9": "", "10.42.16.10": "n1", "10.42.16.11": "n2"} {
		if owner := l.machineOf(s, a); owner != want {
			t.Errorf("%s is node %q's own, want %q", a, owner, want)
		}
	}
}

func TestNothingComesBetweenTheLookForAGatewaysHoldersAndItsMove(t *testing.T) {
	for name, c := range map[string]struct {
		gateway string
		hold    func(l *lab, s *Store, x *joined, b record.Block, config *config.Config) error
	}{
		"an assignment": {"10.42.16.9", func(l *lab, _ *Store, x *joined, b record.Block, _ *config.Config) error {
			return x.Publish(l.Context(), rollout.Batch{Blocks: []record.Block{b}, Set: []record.Assignment{assigned("10.42.16.9")}})
		}},
		"a reservation": {"10.42.0.9", func(l *lab, s *Store, _ *joined, _ record.Block, config *config.Config) error {
			return l.reserves(s, config, identity("db", 1), "10.42.0.9")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			base := l.apply(s, smallest())
			x := l.join(s, "n1")
			b := l.claims(x, base, "10.42.16.0/26")
			l.check(l.reserves(s, base, identity("db", 0), "10.42.0.5"))
			next := movedTo(base, c.gateway)
			free, err := s.Editor.Guard(t.Context(), base, next, []string{"default"})
			l.check(err)
			l.check(c.hold(l, s, x, b, base))
			_, moved, err := s.Editor.CommitChange(t.Context(), config.Change{Base: base, Next: next, Pools: []string{"default"}, Guard: free},
				time.Now())
			if err != nil || !moved {
				t.Errorf("the gateway has moved onto who has got the address meanwhile: %v", err)
			}
		})
	}
}

// A node that is away may have given the address after it had applied a newer revision, too: what counts is the exclusion.
func TestAnAbsentNodesNewestStatusMakesNoGatewayFree(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	session := l.join(l.store(), "n3")
	l.claims(session, base, "10.42.16.0/26")
	l.status(session, base.Revision)
	l.delete(s.KV.Keys.Session("n3"))
	l.refusedFor(s, movedTo(base, "10.42.16.9"), "node n3", "away")
}

func TestAFormerGatewayThatANodeStillHasIsNotEvenWrittenAbout(t *testing.T) {
	l := newLab(t)
	s := l.store()
	base := l.apply(s, smallest())
	x := l.join(s, "n1")
	l.status(x, base.Revision)
	after, err := s.Editor.Apply(t.Context(), base, movedTo(base, "10.42.0.9"), config.Note{})
	l.check(err)
	if freed, err := s.Former.Free(t.Context(), config.Note{}); err != nil || freed != 0 {
		t.Errorf("%d are free: %v", freed, err)
	}
	if now := l.config(s); now.Revision != after.Revision {
		t.Errorf("revision %d became %d", after.Revision, now.Revision)
	}
}
