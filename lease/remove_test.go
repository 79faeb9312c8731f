package lease

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// holdings make a node, whose session nobody keeps, the owner of blocks, of assignments in them and of reservations.
func (l *lab) holdings(s *Store, name string, blocks, assignments, reservations int) *joined {
	l.Helper()
	config := l.apply(s, smallest())
	me := brief(name)
	me.AddressLease = allocator.Duration(6 * time.Second)
	x, err := s.Join(l.Context(), me)
	l.check(err)
	batch := rollout.Batch{}
	for i := range blocks {
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(64 + i/4), byte(i % 4 * 64)}), 26)
		b, err := x.ClaimBlock(l.Context(), "default", config.PoolRevisions["default"], block)
		l.check(err)
		batch.Blocks = append(batch.Blocks, b)
	}
	for i := range assignments {
		a := addr("10.42.64.2")
		for range i {
			a = a.Next()
		}
		batch.Set = append(batch.Set, record.Assignment{Pool: "default", Address: a, Attachment: attachment("c"), Node: name})
	}
	l.check(x.Publish(l.Context(), batch))
	var requests []reservation.Request
	for i := range reservations {
		requests = append(requests, reservation.Request{
			Pool: config.Pools["default"], PoolRevision: config.PoolRevisions["default"], Identity: identity(name, i),
			Attachment: attachment(identity(name, i).Member),
		})
	}
	_, err = x.Reserve(l.Context(), requests)
	l.check(err)
	return x
}

// left fails unless nothing is a node's any more, and its gravestone is there.
func (l *lab) left(s *Store, name string) {
	l.Helper()
	state, err := s.Admin.State(l.Context())
	l.check(err)
	for _, b := range state.Blocks {
		if len(b.Of(name)) > 0 {
			l.Errorf("block %s is still owned: %v", b.Prefix, b.Parts)
		}
	}
	for _, r := range state.Reservations {
		if r.Holder != nil && r.Holder.Node == name {
			l.Errorf("%s is still attached to %s", r.Address, name)
		}
	}
	if _, there := state.Statuses[name]; there || len(state.Assignments) > 0 {
		l.Errorf("its status is there: %v; %d assignments are", there, len(state.Assignments))
	}
	if n := state.Nodes[name]; n.Removed == nil || n.Machine+n.Boot+n.Journal != "" {
		l.Errorf("in the place of its record is %+v", n)
	}
}

func TestARemovedNodeGivesAllBackAndLeavesAGravestone(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.holdings(s, "n1", 3, 150, 4)
	l.absent(s, "n1")
	removal, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.check(err)
	if removal.Parts != 3 || removal.Assignments != 150 || removal.Reservations != 4 {
		t.Errorf("it took %+v", removal)
	}
	l.left(s, "n1")
	if nodes, err := s.Sessions.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("nodes are listed: %+v, %v", nodes, err)
	}
	if kept, err := s.Reservations.List(t.Context()); err != nil || len(kept) != 4 {
		t.Errorf("%d reservations are kept, %v: want all 4", len(kept), err)
	}

	again, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{})
	l.check(err)
	if again.Parts+again.Assignments+again.Reservations != 0 || again.Waited > time.Second {
		t.Errorf("the second time it took %+v", again)
	}
	stranger := node("n1")
	stranger.Machine = "another"
	_, err = s.Join(t.Context(), stranger)
	if err != nil {
		t.Errorf("another machine under the name: %v", err)
	}
}

func TestARemovalWaitsUntilTheRightHasRunOut(t *testing.T) {
	l := newLab(t)
	s := l.store()
	x := l.holdings(s, "n1", 1, 1, 0)
	l.absent(s, "n1")
	var longest time.Duration
	removal, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Waiting: func(left time.Duration) {
		longest = max(longest,
			left)
	}})
	l.check(err)
	right := time.Duration(x.Node().AddressLease)
	if removal.Waited < right+right/10 || longest > right+right/10 {
		t.Errorf("it waited %s, and said %s at most, for a right of %s", removal.Waited, longest, right)
	}
	l.left(s, "n1")
}

func TestALiveNodeIsRemovedOnlyByForceAndIsNotTheNodeAnyMore(t *testing.T) {
	l := newLab(t)
	s := l.store()
	x := l.holdings(s, "n1", 1, 2, 1)
	l.keep(x)
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{})
	if _, live := errors.AsType[*admin.NodeLiveError](err); !live {
		t.Fatalf("without force: %v", err)
	}
	_, err = s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.check(err)
	l.left(s, "n1")
	if err := x.Publish(t.Context(), rollout.Batch{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("what it publishes then: %v", err)
	}
}

func TestANodeThatWasNeverThereIsNotRemoved(t *testing.T) {
	l := newLab(t)
	s := l.store()
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	if _, unknown := errors.AsType[*admin.UnknownNodeError](err); !unknown {
		t.Errorf("the error is %v", err)
	}
	if nodes, _ := s.Admin.State(t.Context()); len(nodes.Nodes) > 0 {
		t.Errorf("a gravestone was put for it: %v", nodes.Nodes)
	}
}

func TestANodeThatComesBackInTheMiddleOfItsWaitIsNotRemoved(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.holdings(s, "n1", 1, 1, 0)
	l.absent(s, "n1")
	var once sync.Once
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Waiting: func(time.Duration) {
		once.Do(func() { l.join(l.store(), "n1") })
	}})
	if _, returned := errors.AsType[*session.NodeReturnedError](err); !returned {
		t.Fatalf("the error is %v", err)
	}
	if blocks, err := s.Blocks.List(t.Context()); err != nil || len(blocks) != 1 {
		t.Errorf("the blocks are %v, %v", blocks, err)
	}
}

// A returning node joins, reads what is its own and claims again what it uses; from then on the removal takes nothing.
func TestWhatAReturningNodeSettlesIsNotTakenFromIt(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	const rounds = 10
	for round := range rounds {
		name := identity("n", round).Member
		x, err := s.Join(t.Context(), brief(name))
		l.check(err)
		var used []netip.Prefix
		for i := range 20 {
			block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(64 + round*8 + i/4), byte(i % 4 * 64)}), 26)
			_, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], block)
			l.check(err)
			used = append(used, block)
		}
		var both sync.WaitGroup
		both.Go(func() {
			_, err := s.Admin.RemoveNode(context.Background(), name, admin.RemoveOptions{Force: true})
			if _, returned := errors.AsType[*session.NodeReturnedError](err); err != nil && !returned {
				t.Error(err)
			}
		})
		both.Go(func() {
			own := l.store()
			_ = kv.Pause(t.Context(), time.Duration(round)*time.Millisecond)
			back, err := own.Join(context.Background(), brief(name))
			if err != nil {
				t.Error(err)
				return
			}
			held := map[netip.Prefix]bool{}
			for _, block := range used {
				// A claim of what is its own succeeds, and so does one of what was given back.
				if _, err := back.ClaimBlock(context.Background(), "default", config.PoolRevisions["default"], block); err == nil {
					held[block] = true
				} else if !errors.Is(err, session.ErrReplaced) && !errors.Is(err, session.ErrLost) {
					t.Error(err)
				}
			}
			state, err := own.Admin.State(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			if state.RevisionOf(kv.Key{Kind: kv.KindNode, Node: name}) != back.Generation() {
				return // the removal came after the join
			}
			for _, b := range state.Blocks {
				delete(held, b.Prefix)
			}
			for block := range held {
				t.Errorf("round %d: block %s was settled by the returned node and taken from it", round, block)
			}
		})
		both.Wait()
	}
}

// A removal compares, step by step, what it has seen: nothing comes between a look and what is taken by it.
func TestNothingComesBetweenALookAndARemoval(t *testing.T) {
	for what, change := range map[string]func(l *lab, s *Store){
		"the node":     func(l *lab, s *Store) { l.put(s.KV.Keys.Node("n1"), kv.Encode(node("n1"))) },
		"its session":  func(l *lab, s *Store) { l.put(s.KV.Keys.Session("n1"), "{}") },
		"what it owns": func(l *lab, s *Store) { l.put(s.KV.Keys.Block("default", prefix("10.42.64.0/26")), "{}") },
	} {
		t.Run(what, func(t *testing.T) {
			l := newLab(t)
			s := l.store()
			l.holdings(s, "n1", 1, 0, 0)
			seen, err := s.Sessions.Lookup(t.Context(), "n1")
			l.check(err)
			if what != "what it owns" {
				change(l, s)
				if stone, err := session.WriteTombstone(t.Context(), s.KV, "n1", seen); !isReturned(err) {
					t.Errorf("it was buried under %d: %v", stone, err)
				}
				seen, err = s.Sessions.Lookup(t.Context(), "n1")
				l.check(err)
			}
			grave, err := session.WriteTombstone(t.Context(), s.KV, "n1", seen)
			l.check(err)
			held, err := s.Admin.HeldBy(t.Context(), "n1")
			l.check(err)
			change(l, s)
			taken, err := s.Admin.TakeAll(t.Context(), "n1", grave, held)
			if taken != (admin.Removal{}) || isReturned(err) != (what != "what it owns") {
				t.Errorf("taken was %+v: %v", taken, err)
			}
		})
	}
}

func isReturned(err error) bool {
	_, returned := errors.AsType[*session.NodeReturnedError](err)
	return returned
}

func TestTheOwnerOfStatefulBlocksIsNoNodeThatCouldBeRemoved(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	_, err := s.Reservations.ReserveFor(t.Context(), config.Pools["default"], config.PoolRevisions["default"], identity("db", 0), nil)
	l.check(err)
	before, err := s.Blocks.List(t.Context())
	l.check(err)
	for _, word := range []string{record.OwnerStateful, record.OwnerMachine} {
		if _, err := s.Admin.RemoveNode(t.Context(), word, admin.RemoveOptions{Force: true}); err == nil || !contains(err,
			"no node's to hand out") {
			t.Errorf("error %v: want one that says what the word means", err)
		}
	}
	after, err := s.Blocks.List(t.Context())
	l.check(err)
	if len(before) == 0 || len(after) != len(before) {
		t.Errorf("the blocks were %+v and are %+v", before, after)
	}
}
