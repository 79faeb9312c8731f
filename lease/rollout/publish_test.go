package rollout_test

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// publisher is a node with one block.
func publishing(l *lab.Lab, s *lab.Store, at netip.Prefix) (*lab.Joined, record.Block) {
	l.Helper()
	config, err := s.Config.Read(l.Context())
	l.Check(err)
	x := l.Join(s, "n1")
	b, err := block.Claim(l.Context(), x.Session, "default", config.PoolRevisions["default"], at)
	l.Check(err)
	return x, b
}

func TestAThousandAssignmentsArePublishedInFewTransactions(t *testing.T) {
	l := lab.New(t)
	pool := lab.Smallest()
	pool.BlockSize.V4 = 22
	pool.Stateful = nil
	l.Apply(l.Store(), pool)
	var transactions atomic.Int64
	s := l.Store(func(o *kv.Options) {
		o.Observe = func(operation string, _ time.Duration, _ bool, err error) {
			if operation == "publish" && err == nil {
				transactions.Add(1)
			}
		}
	})
	x, b := publishing(l, s, lab.Prefix("10.42.16.0/22"))
	all := lab.Assignments(lab.Addr("10.42.16.1"), 1000)
	status := record.Status{Address: "192.0.2.1", Version: "v1", Applied: 7, Containers: 1000}
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: status, Blocks: []record.Block{b}, Set: all}))
	if transactions.Load() > 10 {
		t.Errorf("it took %d transactions", transactions.Load())
	}
	got, err := s.Blocks.Assignments(t.Context())
	l.Check(err)
	if len(got) != len(all) {
		t.Fatalf("%d are there", len(got))
	}
	for i := range got {
		if got[i] != all[i] {
			t.Fatalf("assignment %+v became %+v", all[i], got[i])
		}
	}
	statuses, err := s.Rollout.Statuses(t.Context())
	l.Check(err)
	if s := statuses["n1"]; s.Applied != 7 || s.Containers != 1000 || s.Batch != 10 || s.Node != "n1" {
		t.Errorf("the status is %+v", s)
	}
	one, err := s.Blocks.Assignment(t.Context(), "default", all[3].Address)
	l.Check(err)
	if one == nil || *one != all[3] {
		t.Errorf("one is %+v", one)
	}

	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: status, Blocks: []record.Block{b}, Clear: all[1:], Set: all[:1]}))
	got, err = s.Blocks.Assignments(t.Context())
	l.Check(err)
	if len(got) != 1 {
		t.Errorf("%d are left", len(got))
	}
}

func TestAPublishingThatDidNotFinishHasNotWrittenItsStatus(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	config := l.Apply(s, lab.Smallest())
	x, first := publishing(l, s, lab.Prefix("10.42.16.0/26"))
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: 1}}))
	blocks, all := []record.Block{first}, lab.Assignments(lab.Addr("10.42.16.1"), 60)
	for _, p := range []string{"10.42.16.64/26", "10.42.16.128/26"} {
		b, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix(p))
		l.Check(err)
		blocks, all = append(blocks, b), append(all, lab.Assignments(b.Prefix.Addr().Next(), 60)...)
	}
	// The last block moves on in etcd; the pieces before it do not know.
	if _, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], blocks[2].Prefix); err != nil {
		t.Fatal(err)
	}
	err := rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: 2}, Blocks: blocks, Set: all})
	lost, ok := errors.AsType[*block.LostError](err)
	if !ok || lost.Block.Prefix != blocks[2].Prefix || lost.Block.Revision == blocks[2].Revision {
		t.Fatalf("the error is %v", err)
	}
	statuses, err := s.Rollout.Statuses(t.Context())
	l.Check(err)
	if statuses["n1"].Applied != 1 {
		t.Errorf("the status is %+v", statuses["n1"])
	}
	blocks[2] = lost.Block
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: 2}, Blocks: blocks, Set: all}))
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || len(got) != len(all) {
		t.Errorf("%d are there, %v", len(got), err)
	}
}

func TestNothingIsPublishedInABlockThatIsLost(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	x, b := publishing(l, s, lab.Prefix("10.42.16.0/26"))
	taken := b
	taken.Parts = []record.Part{{Prefix: b.Prefix, Owner: "n2", Taken: true}}
	l.Put(s.KV.Keys.Block("default", b.Prefix), kv.Encode(taken))
	batch := rollout.Batch{Blocks: []record.Block{b}, Set: lab.Assignments(lab.Addr("10.42.16.1"), 3)}
	lost, ok := errors.AsType[*block.LostError](rollout.Publish(t.Context(), x.Session, batch))
	if !ok || lost.Block.Pool != "default" || lost.Block.Parts[0].Owner != "n2" || lost.Block.Revision <= b.Revision {
		t.Fatalf("the error is %+v", lost)
	}
	l.Delete(s.KV.Keys.Block("default", b.Prefix))
	lost, ok = errors.AsType[*block.LostError](rollout.Publish(t.Context(), x.Session, batch))
	if !ok || lost.Block.Revision != 0 || lost.Block.Prefix != b.Prefix {
		t.Fatalf("without a record: %+v", lost)
	}
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("published was %v, %v", got, err)
	}
	err := rollout.Publish(t.Context(), x.Session, rollout.Batch{Set: batch.Set})
	if err == nil || !lab.Contains(err, "none of the batch's blocks") {
		t.Errorf("without a block: %v", err)
	}
}

func TestABatchThatComesLateChangesNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	x, b := publishing(l, s, lab.Prefix("10.42.16.0/26"))
	a := lab.Assignments(lab.Addr("10.42.16.1"), 1)
	late, err := rollout.FirstPublication(x.Session, rollout.Batch{Blocks: []record.Block{b}, Set: a})
	l.Check(err)
	l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Blocks: []record.Block{b}, Clear: a}))
	l.Check(s.KV.Commit(t.Context(), 1, late))
	if got, err := s.Blocks.Assignments(t.Context()); err != nil || late.Done || len(got) > 0 {
		t.Errorf("it was carried out: %v, %v", got, err)
	}
}

func TestANewSessionGoesOnWithTheCounter(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	for n := int64(1); n <= 3; n++ {
		x := l.Join(s, "n1")
		l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: n}}))
		statuses, err := s.Rollout.Statuses(t.Context())
		l.Check(err)
		if got := statuses["n1"]; got.Batch != n || got.Applied != n {
			t.Errorf("after %d sessions the status is %+v", n, got)
		}
	}
}

func TestAStatusThatAPersonHasTouchedIsOverwritten(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Apply(s, lab.Smallest())
	x := l.Join(s, "n1")
	for _, touch := range []func(){
		func() { l.Put(s.KV.Keys.Status("n1"), "rubbish") },
		func() { l.Delete(s.KV.Keys.Status("n1")) },
	} {
		l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: 1}}))
		touch()
		l.Check(rollout.Publish(t.Context(), x.Session, rollout.Batch{Status: record.Status{Applied: 2}}))
		if statuses, err := s.Rollout.Statuses(t.Context()); err != nil || statuses["n1"].Applied != 2 {
			t.Errorf("the status is %+v, %v", statuses["n1"], err)
		}
	}
}
