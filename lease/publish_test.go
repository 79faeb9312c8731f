package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// publisher is a node with one block.
func publishing(l *lab, s *Store, block netip.Prefix) (*joined, record.Block) {
	l.Helper()
	config, err := s.Config.Read(l.Context())
	l.check(err)
	x := l.join(s, "n1")
	b, err := x.ClaimBlock(l.Context(), "default", config.PoolRevisions["default"], block)
	l.check(err)
	return x, b
}

func assignments(from netip.Addr, n int) (all []record.Assignment) {
	for i := range n {
		all = append(all, record.Assignment{Pool: "default", Address: from, Attachment: attachment(fmt.Sprint("c", i)), Node: "n1",
			Since: time.Now().UTC()})
		from = from.Next()
	}
	return all
}

func TestAThousandAssignmentsArePublishedInFewTransactions(t *testing.T) {
	l := newLab(t)
	pool := smallest()
	pool.BlockSize.V4 = 22
	pool.Stateful = nil
	l.apply(l.store(), pool)
	var transactions atomic.Int64
	s := l.store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, _ error) {
			if operation == "publish" {
				transactions.Add(1)
			}
		}
	})
	x, b := publishing(l, s, prefix("10.42.16.0/22"))
	all := assignments(addr("10.42.16.1"), 1000)
	status := record.Status{Address: "192.0.2.1", Version: "v1", Applied: 7, Containers: 1000}
	l.check(x.Publish(t.Context(), rollout.Batch{Status: status, Blocks: []record.Block{b}, Set: all}))
	if transactions.Load() > 10 {
		t.Errorf("it took %d transactions", transactions.Load())
	}
	got, err := s.Blocks.Assignments(t.Context())
	l.check(err)
	if len(got) != len(all) {
		t.Fatalf("%d are there", len(got))
	}
	for i := range got {
		if got[i] != all[i] {
			t.Fatalf("assignment %+v became %+v", all[i], got[i])
		}
	}
	statuses, err := s.Rollout.Statuses(t.Context())
	l.check(err)
	if s := statuses["n1"]; s.Applied != 7 || s.Containers != 1000 || s.Batch != 10 || s.Node != "n1" {
		t.Errorf("the status is %+v", s)
	}
	one, err := s.Blocks.Assignment(t.Context(), "default", all[3].Address)
	l.check(err)
	if one == nil || *one != all[3] {
		t.Errorf("one is %+v", one)
	}

	l.check(x.Publish(t.Context(), rollout.Batch{Status: status, Blocks: []record.Block{b}, Clear: all[1:], Set: all[:1]}))
	got, err = s.Blocks.Assignments(t.Context())
	l.check(err)
	if len(got) != 1 {
		t.Errorf("%d are left", len(got))
	}
}

func TestAPublishingThatDidNotFinishHasNotToldItsStatus(t *testing.T) {
	l := newLab(t)
	s := l.store()
	config := l.apply(s, smallest())
	x, first := publishing(l, s, prefix("10.42.16.0/26"))
	l.check(x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: 1}}))
	blocks, all := []record.Block{first}, assignments(addr("10.42.16.1"), 60)
	for _, p := range []string{"10.42.16.64/26", "10.42.16.128/26"} {
		b, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], prefix(p))
		l.check(err)
		blocks, all = append(blocks, b), append(all, assignments(b.Prefix.Addr().Next(), 60)...)
	}
	// The last block moves on in etcd; the pieces before it do not know.
	if _, err := x.ClaimBlock(t.Context(), "default", config.PoolRevisions["default"], blocks[2].Prefix); err != nil {
		t.Fatal(err)
	}
	err := x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: 2}, Blocks: blocks, Set: all})
	lost, ok := errors.AsType[*block.LostError](err)
	if !ok || lost.Block.Prefix != blocks[2].Prefix || lost.Block.Revision == blocks[2].Revision {
		t.Fatalf("the error is %v", err)
	}
	statuses, err := s.Rollout.Statuses(t.Context())
	l.check(err)
	if statuses["n1"].Applied != 1 {
		t.Errorf("the status is %+v", statuses["n1"])
	}
	blocks[2] = lost.Block
	l.check(x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: 2}, Blocks: blocks, Set: all}))
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || len(got) != len(all) {
		t.Errorf("%d are there, %v", len(got), err)
	}
}

func TestNothingIsPublishedInABlockThatIsLost(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.apply(s, smallest())
	x, b := publishing(l, s, prefix("10.42.16.0/26"))
	taken := b
	taken.Parts = []record.Part{{Prefix: b.Prefix, Owner: "n2", Taken: true}}
	l.put(s.KV.Keys.Block("default", b.Prefix), kv.Encode(taken))
	batch := rollout.Batch{Blocks: []record.Block{b}, Set: assignments(addr("10.42.16.1"), 3)}
	lost, ok := errors.AsType[*block.LostError](x.Publish(t.Context(), batch))
	if !ok || lost.Block.Pool != "default" || lost.Block.Parts[0].Owner != "n2" || lost.Block.Revision <= b.Revision {
		t.Fatalf("the error is %+v", lost)
	}
	l.delete(s.KV.Keys.Block("default", b.Prefix))
	lost, ok = errors.AsType[*block.LostError](x.Publish(t.Context(), batch))
	if !ok || lost.Block.Revision != 0 || lost.Block.Prefix != b.Prefix {
		t.Fatalf("without a record: %+v", lost)
	}
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("published was %v, %v", got, err)
	}
	if err := x.Publish(t.Context(), rollout.Batch{Set: batch.Set}); err == nil || !contains(err, "none of the batch's blocks") {
		t.Errorf("without a block: %v", err)
	}
}

func TestABatchThatComesLateChangesNothing(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.apply(s, smallest())
	x, b := publishing(l, s, prefix("10.42.16.0/26"))
	a := assignments(addr("10.42.16.1"), 1)
	pieces, err := rollout.PublisherOf(x.Session).Pieces(rollout.Batch{Blocks: []record.Block{b}, Set: a})
	l.check(err)
	late := rollout.PublisherOf(x.Session).Publication(pieces[0])
	l.check(x.Publish(t.Context(), rollout.Batch{Blocks: []record.Block{b}, Clear: a}))
	l.check(s.KV.Commit(t.Context(), 1, late.Txn))
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || late.Done || len(got) > 0 {
		t.Errorf("it was carried out: %v, %v", got, err)
	}
}

func TestANewSessionGoesOnWithTheCounter(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.apply(s, smallest())
	for n := int64(1); n <= 3; n++ {
		x := l.join(s, "n1")
		l.check(x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: n}}))
		statuses, err := s.Rollout.Statuses(t.Context())
		l.check(err)
		if got := statuses["n1"]; got.Batch != n || got.Applied != n {
			t.Errorf("after %d sessions the status is %+v", n, got)
		}
	}
}

func TestAStatusThatAPersonHasTouchedIsOverwritten(t *testing.T) {
	l := newLab(t)
	s := l.store()
	l.apply(s, smallest())
	x := l.join(s, "n1")
	for _, touch := range []func(){
		func() { l.put(s.KV.Keys.Status("n1"), "rubbish") },
		func() { l.delete(s.KV.Keys.Status("n1")) },
	} {
		l.check(x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: 1}}))
		touch()
		l.check(x.Publish(t.Context(), rollout.Batch{Status: record.Status{Applied: 2}}))
		if statuses, err := s.Rollout.Statuses(t.Context()); err != nil || statuses["n1"].Applied != 2 {
			t.Errorf("the status is %+v, %v", statuses["n1"], err)
		}
	}
}
