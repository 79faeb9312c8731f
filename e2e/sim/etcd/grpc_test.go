package etcd

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// once is a transaction that makes a key, and reads it where it is there.
func once(key string) (t *kv.Txn, there *kv.Read) {
	t = kv.Transact("test")
	t.If(kv.Absent(key))
	t.Then(clientv3.OpPut(key, "made"))
	return t, t.Else(key)
}

func TestATransactionWhoseAnswerIsLostIsSentAgainAndCarriedOutOnce(t *testing.T) {
	inBubble(t, 1, func(b *bubble) {
		c := b.client()
		defer c.Close()
		lose := b.wires[0].hold()
		txn, there := once("/k")
		done := make(chan error)
		go func() { done <- c.Execute(b.Context(), txn) }()
		for _, version := b.stored("/k"); version == 0; _, version = b.stored("/k") {
			time.Sleep(time.Millisecond)
		}
		lose()
		b.check(<-done)
		if value, version := b.stored("/k"); txn.Done || !there.Found() || value != "made" || version != 1 {
			b.Errorf("done %v, found %v; etcd has %q, written %d times: want it to find its own", txn.Done, there.Found(), value, version)
		}
	})
}

func TestATransactionThatBreaksOffHalfWayIsSentAgain(t *testing.T) {
	inBubble(t, 1, func(b *bubble) {
		c := b.client()
		defer c.Close()
		b.wires[0].breakOff()
		txn, _ := once("/k")
		b.check(c.Execute(b.Context(), txn))
		if _, version := b.stored("/k"); !txn.Done || version != 1 {
			b.Errorf("done %v, written %d times: want once", txn.Done, version)
		}
	})
}

func TestACallEndsInItsTimeWhereNoMemberAnswers(t *testing.T) {
	inBubble(t, 2, func(b *bubble) {
		c := b.client()
		defer c.Close()
		for _, w := range b.wires {
			defer w.hang()()
		}
		began := time.Now()
		_, err := c.Get(b.Context(), "/k")
		if took := time.Since(began); !kv.Unavailable(err) || took > kv.CallTime {
			b.Errorf("after %s: %v: want no answer after %s at most", took, err, kv.CallTime)
		}
		ctx, cancel := context.WithCancel(b.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := c.Get(ctx, "/k"); !errors.Is(err, context.Canceled) {
			b.Errorf("whoever gives up gets %v", err)
		}
	})
}

// brief is a node with a session of the shortest time.
func brief() record.Node {
	return record.Node{
		Name: "n1", Machine: "m", Boot: "b", Journal: "j", Fencing: record.FencingStrict, Started: time.Now().UTC(),
		Session: allocator.Duration(4 * time.Second), AddressLease: allocator.Duration(time.Minute),
	}
}

// proofs are a prover that counts.
type proofs struct{ n atomic.Int64 }

func (p *proofs) Arm() error           { return nil }
func (p *proofs) Proven(time.Duration) { p.n.Add(1) }

func TestAMemberThatHangsCostsNoSessionAndAllOfThemDo(t *testing.T) {
	inBubble(t, 3, func(b *bubble) {
		c := b.client()
		defer c.Close()
		x, err := session.New(c).Join(b.Context(), brief())
		if err != nil {
			b.Error(err)
			return
		}
		ended, proofs := make(chan error, 1), &proofs{}
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		go func() { ended <- x.Keep(ctx, proofs) }()
		time.Sleep(10 * time.Second)
		goOn := b.wires[1].hang()
		before := proofs.n.Load()
		time.Sleep(2 * time.Minute)
		if now := proofs.n.Load(); len(ended) > 0 || now == before {
			b.Errorf("one of three members hangs: %d proofs in two minutes", now-before)
		}
		if _, version := b.stored(c.Keys.Session("n1")); version != 1 {
			b.Error("one of three members hangs, and the session has ended")
		}
		goOn()
		var goOnAll []func()
		for _, w := range b.wires {
			goOnAll = append(goOnAll, w.hang())
		}
		time.Sleep(time.Minute)
		if _, version := b.stored(c.Keys.Session("n1")); version != 0 {
			b.Error("no member carries anything, and the session lives")
		}
		for _, goOn := range goOnAll {
			goOn()
		}
		if err := <-ended; !errors.Is(err, session.ErrLost) {
			b.Errorf("the session ends with %v", err)
		}
	})
}

func TestWhoFollowsGetsAllThoughConnectionsBreak(t *testing.T) {
	inBubble(t, 1, func(b *bubble) {
		c := b.client()
		defer c.Close()
		put := func(name string) {
			n := brief()
			n.Name = name
			_, err := b.server.Client().Put(b.Context(), c.Keys.Node(name), kv.Encode(n))
			b.check(err)
		}
		put("n1")
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		known, full := []string{}, 0
		go func() {
			_ = kv.Follow(ctx, c, record.NodeCodec, func(u kv.Update[record.Node]) {
				if u.Full {
					known, full = nil, full+1
				}
				for _, n := range u.Set {
					known = append(known, n.Name)
				}
			})
		}()
		time.Sleep(time.Second)
		lose := b.wires[0].hold()
		put("n2") // its event is lost with the connection
		synctest.Wait()
		lose()
		put("n3")
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"n1", "n2", "n3"}; !slices.Equal(known, want) || full != 1 {
			b.Errorf("it has heard of %q, with %d full reads: want %q by the watch", known, full, want)
		}
		lose = b.wires[0].hold()
		put("n4")
		now, err := b.server.Client().Get(b.Context(), "/x")
		b.check(err)
		_, err = b.server.Client().Compact(b.Context(), now.Header.Revision)
		b.check(err)
		put("n5")
		synctest.Wait()
		lose()
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"n1", "n2", "n3", "n4", "n5"}; !slices.Equal(known, want) {
			b.Errorf("after a compaction it has heard of %q: want %q", known, want)
		}
	})
}
