package admin_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// holdings make a node, whose session nobody keeps, the owner of blocks, of assignments in them and of reservations.
func holdings(l *lab.Lab, s *lab.Store, name string, blocks, assignments, reservations int) *lab.Joined {
	l.Helper()
	config := l.Apply(s, lab.Smallest())
	me := lab.Brief(name)
	me.AddressLease = allocator.Duration(6 * time.Second)
	x, err := s.Join(l.Context(), me)
	l.Check(err)
	batch := rollout.Batch{}
	for i := range blocks {
		at := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(64 + i/4), byte(i % 4 * 64)}), 26)
		b, err := block.Claim(l.Context(), x.Session, "default", config.PoolRevisions["default"], at)
		l.Check(err)
		batch.Blocks = append(batch.Blocks, b)
	}
	for i := range assignments {
		a := lab.Addr("10.42.64.2")
		for range i {
			a = a.Next()
		}
		batch.Set = append(batch.Set, record.Assignment{Pool: "default", Address: a, Attachment: lab.Attachment("c"), Node: name})
	}
	l.Check(rollout.Publish(l.Context(), x.Session, batch))
	var requests []reservation.Request
	for i := range reservations {
		requests = append(requests, reservation.Request{
			Pool: config.Pools["default"], PoolRevision: config.PoolRevisions["default"], Identity: lab.Identity(name, i),
			Attachment: lab.Attachment(lab.Identity(name, i).Member),
		})
	}
	_, err = x.Reserve(l.Context(), requests)
	l.Check(err)
	return x
}

// left fails unless nothing is a node's any more, and its tombstone is there.
func left(l *lab.Lab, s *lab.Store, name string) {
	l.Helper()
	state, err := s.Admin.State(l.Context())
	l.Check(err)
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

func TestARemovedNodeGivesAllBackAndLeavesATombstone(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	holdings(l, s, "n1", 3, 150, 4)
	l.Absent(s, "n1")
	removal, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.Check(err)
	if removal.Parts != 3 || removal.Assignments != 150 || removal.Reservations != 4 {
		t.Errorf("it took %+v", removal)
	}
	left(l, s, "n1")
	if nodes, err := s.Sessions.Nodes(t.Context()); err != nil || len(nodes) != 0 {
		t.Errorf("nodes are listed: %+v, %v", nodes, err)
	}
	if kept, err := s.Reservations.List(t.Context()); err != nil || len(kept) != 4 {
		t.Errorf("%d reservations are kept, %v: want all 4", len(kept), err)
	}

	again, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{})
	l.Check(err)
	if again.Parts+again.Assignments+again.Reservations != 0 || again.Waited > time.Second {
		t.Errorf("the second time it took %+v", again)
	}
	stranger := lab.Node("n1")
	stranger.Machine = "another"
	_, err = s.Join(t.Context(), stranger)
	if err != nil {
		t.Errorf("another machine under the name: %v", err)
	}
}

func TestARemovalWaitsUntilTheRightHasRunOut(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := holdings(l, s, "n1", 1, 1, 0)
	l.Absent(s, "n1")
	var longest time.Duration
	removal, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Waiting: func(left time.Duration) {
		longest = max(longest,
			left)
	}})
	l.Check(err)
	right := time.Duration(x.Node().AddressLease)
	if removal.Waited < right+right/10 || longest > right+right/10 {
		t.Errorf("it waited %s, and said %s at most, for a right of %s", removal.Waited, longest, right)
	}
	left(l, s, "n1")
}

func TestALiveNodeIsRemovedOnlyByForceAndIsNotTheNodeAnyMore(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := holdings(l, s, "n1", 1, 2, 1)
	l.Keep(x)
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{})
	if _, live := errors.AsType[*admin.NodeLiveError](err); !live {
		t.Fatalf("without force: %v", err)
	}
	_, err = s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	l.Check(err)
	left(l, s, "n1")
	if err := rollout.Publish(t.Context(), x.Session, rollout.Batch{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("what it publishes then: %v", err)
	}
}

func TestANodeThatWasNeverThereIsNotRemoved(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Force: true})
	if _, unknown := errors.AsType[*admin.UnknownNodeError](err); !unknown {
		t.Errorf("the error is %v", err)
	}
	if nodes, _ := s.Admin.State(t.Context()); len(nodes.Nodes) > 0 {
		t.Errorf("a tombstone was put for it: %v", nodes.Nodes)
	}
}

func TestANodeThatComesBackInTheMiddleOfItsWaitIsNotRemoved(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	holdings(l, s, "n1", 1, 1, 0)
	l.Absent(s, "n1")
	var once sync.Once
	_, err := s.Admin.RemoveNode(t.Context(), "n1", admin.RemoveOptions{Waiting: func(time.Duration) {
		once.Do(func() { l.Join(l.Store(), "n1") })
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
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	const rounds = 10
	for round := range rounds {
		name := lab.Identity("n", round).Member
		x, err := s.Join(t.Context(), lab.Brief(name))
		l.Check(err)
		var used []netip.Prefix
		for i := range 20 {
			at := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(64 + round*8 + i/4), byte(i % 4 * 64)}), 26)
			_, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], at)
			l.Check(err)
			used = append(used, at)
		}
		var both sync.WaitGroup
		both.Go(func() {
			_, err := s.Admin.RemoveNode(context.Background(), name, admin.RemoveOptions{Force: true})
			if _, returned := errors.AsType[*session.NodeReturnedError](err); err != nil && !returned {
				t.Error(err)
			}
		})
		both.Go(func() {
			own := l.Store()
			_ = task.Pause(t.Context(), time.Duration(round)*time.Millisecond)
			back, err := own.Join(context.Background(), lab.Brief(name))
			if err != nil {
				t.Error(err)
				return
			}
			held := map[netip.Prefix]bool{}
			for _, at := range used {
				// A claim of what is its own succeeds, and so does one of what was given back.
				if _, err := block.Claim(context.Background(), back.Session, "default", config.PoolRevisions["default"], at); err == nil {
					held[at] = true
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
			for at := range held {
				t.Errorf("round %d: block %s was settled by the returned node and taken from it", round, at)
			}
		})
		both.Wait()
	}
}

// A removal compares, step by step, what it has seen: nothing comes between a look and what is taken by it.
func TestNothingComesBetweenALookAndARemoval(t *testing.T) {
	for what, change := range map[string]func(l *lab.Lab, s *lab.Store){
		"the node":     func(l *lab.Lab, s *lab.Store) { l.Put(s.KV.Keys.Node("n1"), kv.Encode(lab.Node("n1"))) },
		"its session":  func(l *lab.Lab, s *lab.Store) { l.Put(s.KV.Keys.Session("n1"), "{}") },
		"what it owns": func(l *lab.Lab, s *lab.Store) { l.Put(s.KV.Keys.Block("default", lab.Prefix("10.42.64.0/26")), "{}") },
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			holdings(l, s, "n1", 1, 0, 0)
			seen, err := s.Sessions.Lookup(t.Context(), "n1")
			l.Check(err)
			if what != "what it owns" {
				change(l, s)
				if at, err := session.WriteTombstone(t.Context(), s.KV, "n1", seen); !isReturned(err) {
					t.Errorf("a tombstone was written at %d: %v", at, err)
				}
				seen, err = s.Sessions.Lookup(t.Context(), "n1")
				l.Check(err)
			}
			tombstone, err := session.WriteTombstone(t.Context(), s.KV, "n1", seen)
			l.Check(err)
			held, err := s.Admin.HeldBy(t.Context(), "n1")
			l.Check(err)
			change(l, s)
			taken, err := s.Admin.RemoveAll(t.Context(), "n1", tombstone, held)
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
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	_, err := s.Reservations.ReserveFor(t.Context(), config.Pools["default"], config.PoolRevisions["default"], lab.Identity("db", 0), nil)
	l.Check(err)
	before, err := s.Blocks.List(t.Context())
	l.Check(err)
	for _, word := range []string{record.OwnerStateful, record.OwnerMachine} {
		if _, err := s.Admin.RemoveNode(t.Context(), word, admin.RemoveOptions{Force: true}); err == nil || !lab.Contains(err,
			"no node's to allocate") {
			t.Errorf("error %v: want one that says what the word means", err)
		}
	}
	after, err := s.Blocks.List(t.Context())
	l.Check(err)
	if len(before) == 0 || len(after) != len(before) {
		t.Errorf("the blocks were %+v and are %+v", before, after)
	}
}
