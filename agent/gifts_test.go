package agent

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
)

// tiny is one block of 13 usable addresses, 10.7.0.2 to 10.7.0.14.
var tiny = spaceKey{"tiny", allocator.V4}

// shared is a rig with the pool tiny and a second node, of which only the session is there.
func shared(t *testing.T) (r *rig, n2 *lease.Session, claim func() lease.Block) {
	r = newRig(t)
	r.apply(allocator.Pool{
		Name: "tiny", CIDRs: prefixes("10.7.0.0/28"), Gateways: []netip.Addr{netip.MustParseAddr("10.7.0.1")}, BlockSize: allocator.BlockSize{V4: 28},
	})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.pool("tiny"); return err == nil })
	n2, err := r.store.Join(t.Context(), lease.Node{
		Name: "n2", Machine: "m2", Boot: "b2", Journal: "j2", Fencing: lease.FencingEvidence,
		Session: allocator.Duration(10 * time.Second), AddressLease: allocator.Duration(time.Minute),
	})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { _ = n2.Keep(ctx, silent{}) })
	t.Cleanup(func() { cancel(); kept.Wait() })
	return r, n2, func() lease.Block {
		t.Helper()
		b, err := n2.ClaimBlock(t.Context(), "tiny", r.agent.config.Load().PoolRevisions["tiny"], netip.MustParsePrefix("10.7.0.0/28"))
		check(t, err)
		r.until("the agent knows who owns the block", func() bool {
			now, ok := r.agent.blocks.at(keyOf(b))
			return ok && now.Revision >= b.Revision
		})
		return b
	}
}

func (r *rig) tiny(id string) wire.Container {
	c := r.stateless(id, "web")
	c.Pool = "tiny"
	return c
}

// waiting begins an ADD that has to wait, and returns once it does.
func (r *rig) waiting(c wire.Container) (ended chan *wire.Response) {
	r.t.Helper()
	ended = make(chan *wire.Response, 1)
	go func() {
		response, _ := r.ask(wire.Insert, c)
		ended <- response
	}()
	r.until("the ADD waits", func() bool { return r.agent.waiters.len(tiny) > 0 })
	return ended
}

func (r *rig) answered(ended chan *wire.Response) netip.Addr {
	r.t.Helper()
	response := <-ended
	if response == nil || response.Error != nil {
		r.t.Fatalf("the ADD has ended with %+v", response)
	}
	return response.Results[0].Addresses[0].Address.Addr()
}

func (r *rig) demanded(node string) (d lease.Demand) {
	r.t.Helper()
	r.until(node+" demands", func() bool {
		all, err := r.store.Demands(r.t.Context())
		check(r.t, err)
		i := slices.IndexFunc(all, func(each lease.Demand) bool { return each.Node == node })
		if i >= 0 {
			d = all[i]
		}
		return i >= 0
	})
	return d
}

func (r *rig) undemanded() {
	r.t.Helper()
	r.until("nobody demands any more", func() bool {
		all, err := r.store.Demands(r.t.Context())
		check(r.t, err)
		return len(all) == 0
	})
}

// owns are the parts that the agent's allocator has of the pool tiny.
func (r *rig) owns() (parts []netip.Prefix) {
	r.agent.pools.with(tiny, func(s *allocator.Space) { parts = s.Parts() })
	return parts
}

func (r *rig) block() lease.Block {
	r.t.Helper()
	all, err := r.store.Blocks(r.t.Context())
	check(r.t, err)
	i := slices.IndexFunc(all, func(b lease.Block) bool { return b.Pool == "tiny" })
	if i < 0 {
		return lease.Block{Pool: "tiny", Prefix: netip.MustParsePrefix("10.7.0.0/28")}
	}
	return all[i]
}

// agrees waits until the allocator owns exactly what etcd says is the node's.
func (r *rig) agrees() {
	r.t.Helper()
	r.until("allocator and etcd agree", func() bool {
		b := r.block()
		var own []netip.Prefix
		for _, p := range b.Of("n1") {
			own = append(own, p.Prefix)
		}
		return slices.Equal(r.owns(), own)
	})
}

func TestAnAddThatFindsNoAddressIsEndedByAGift(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	ended := r.waiting(r.tiny("a"))
	d := r.demanded("n1")
	if d.Pool != "tiny" || d.V4 != 1 || d.V6 != 0 {
		t.Errorf("the demand is %+v", d)
	}
	if code, body := get(t, "http://"+r.agent.httpAddress.Load().(string)+"/metrics"); code != 200 || !strings.Contains(body, "berth_waiting_requests 1") {
		t.Error("the metrics do not show the wait")
	}
	_, err := n2.Give(t.Context(), b, netip.MustParsePrefix("10.7.0.8/31"), d)
	check(t, err)
	if got := r.answered(ended); got != netip.MustParseAddr("10.7.0.8") && got != netip.MustParseAddr("10.7.0.9") {
		t.Errorf("%s was answered, which was not given", got)
	}
	r.agrees()
	r.undemanded()
	r.until("the metrics show the gift", func() bool {
		_, body := get(t, "http://"+r.agent.httpAddress.Load().(string)+"/metrics")
		return strings.Contains(body, `berth_gifts_total{direction="received"} 1`)
	})
}

func TestAnAddThatFindsNoAddressIsEndedByAReleaseHere(t *testing.T) {
	r, _, _ := shared(t)
	var all []wire.Container
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"} {
		all = append(all, r.tiny(id))
		r.add(all[len(all)-1])
	}
	first := r.waiting(r.tiny("first"))
	second := r.waiting(r.tiny("second"))
	r.until("both wait", func() bool { return r.agent.waiters.len(tiny) == 2 })
	r.demanded("n1")
	freed := r.agent.journal.Get(allocator.Attachment{Network: "net", Container: "c", Interface: "eth0"}).Addresses[0]
	r.del(all[2])
	// Whichever came first.
	var got netip.Addr
	select {
	case response := <-first:
		got, first = response.Results[0].Addresses[0].Address.Addr(), second
	case response := <-second:
		got = response.Results[0].Addresses[0].Address.Addr()
	}
	if got != freed {
		t.Errorf("%s was answered, %s is the one that was released", got, freed)
	}
	r.del(all[5])
	r.answered(first)
	r.undemanded()
}

func TestAnAddThatFindsNoAddressIsEndedByABlockThatIsGivenBack(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	ended := r.waiting(r.tiny("a"))
	_, err := n2.ReleaseBlock(t.Context(), b, netip.MustParsePrefix("10.7.0.4/30"))
	check(t, err)
	if got := r.answered(ended); !netip.MustParsePrefix("10.7.0.4/30").Contains(got) {
		t.Errorf("%s was answered, which is another's", got)
	}
	r.agrees()
	r.undemanded()
}

func TestWhatIsDemandedIsGivenToTheLastAddressAndNothingThatIsHeld(t *testing.T) {
	r, n2, _ := shared(t)
	held := r.add(r.tiny("a"))
	before := 13
	for before > 1 {
		d, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
		check(t, err)
		r.until("the demand is met", func() bool { all, err := r.store.Demands(t.Context()); return err == nil && len(all) == 0 })
		r.agrees()
		c := r.agent.pools.counts(tiny)
		if left := c.Free + c.Released + c.Held; left >= before || before-left > max(1, (before-1)/2) {
			t.Errorf("of %d addresses, one of them held, %d are left", before, left)
		} else {
			before = left
		}
		if b := r.block(); b.OwnerOf(held) != "n1" || d.Revision >= b.Revision {
			t.Errorf("after the gift the block is %+v, and %s is held on n1", b, held)
		}
	}
	// What is released then is given, too.
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.del(wire.Container{Network: "net", ID: "a", Interface: "eth0"})
	r.until("the last one is given", func() bool { b := r.block(); return b.OwnerOf(held) == "n2" })
	r.agrees()
	if n := r.agent.isolated.count(); n > 0 {
		t.Errorf("%d containers are isolated", n)
	}
	r.until("nothing is assigned", func() bool { return r.assigned(held) == nil })
}

func TestWhatAnAddHereWaitsForIsNotGiven(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	me := r.agent.waiters.join(tiny) // as many as there are addresses
	for range 11 {
		r.agent.waiters.join(tiny)
	}
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.demanded("n1")
	time.Sleep(100 * time.Millisecond)
	if b := r.block(); len(b.Of("n2")) > 0 {
		t.Errorf("the block is %+v, and all of it is waited for", b)
	}
	r.agent.waiters.leave(tiny, me)
	r.agent.freed(tiny)
	r.until("the one that nobody waits for is given", func() bool {
		b := r.block()
		theirs := b.Of("n2")
		return len(theirs) == 1 && theirs[0].Prefix == netip.MustParsePrefix("10.7.0.14/31") // with the broadcast address
	})
}

func TestNoLateWordOfTheWatchBringsBackWhatWasGiven(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	late := r.block()
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.until("it is given", func() bool { b := r.block(); return len(b.Of("n2")) > 0 })
	r.agrees()
	own := r.owns()
	for _, full := range []bool{false, true} {
		r.word(lease.Update[lease.Block]{Full: full, Revision: late.Revision, Set: []lease.Block{late}})
		if now := r.owns(); !slices.Equal(now, own) {
			t.Errorf("full %v: a word from before the gift has made %v of %v", full, now, own)
		}
	}
}

func TestNoLateWordOfTheWatchBringsBackWhatWasReleased(t *testing.T) {
	k := blockKey{"tiny", netip.MustParsePrefix("10.7.0.0/28")}
	block := func(revision int64) lease.Block {
		return lease.Block{Pool: k.pool, Prefix: k.prefix, Revision: revision, Parts: []lease.Part{{Prefix: k.prefix, Owner: "n1"}}}
	}
	for _, full := range []bool{false, true} {
		word := func(revision int64) lease.Update[lease.Block] {
			return lease.Update[lease.Block]{Full: full, Revision: revision, Set: []lease.Block{block(revision)}}
		}
		var b blocks
		b.put(block(5)) // claimed, and released at 6, before the watch has told of anything
		b.ended(lease.Block{Pool: k.pool, Prefix: k.prefix, Revision: 6})
		if b.take(word(5)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before the release counts: %v", full, b.all)
		}
		b.take(lease.Update[lease.Block]{Revision: 6, Gone: []lease.Block{block(5)}})
		if len(b.gone) > 0 {
			t.Errorf("full %v: the watch has passed the release, and it is remembered: %v", full, b.gone)
		}
		if b.take(word(7)); b.all[k].Revision != 7 {
			t.Errorf("full %v: a later claim is not known: %v", full, b.all)
		}
		// Settling has read that it is gone by 8, and a watch that is behind tells of 7 and of what is new.
		if b.settle(nil, 8); len(b.all) > 0 {
			t.Errorf("full %v: settled, and known are %v", full, b.all)
		}
		if b.take(word(7)); len(b.all) > 0 {
			t.Errorf("full %v: the word from before settling counts: %v", full, b.all)
		}
		if b.take(word(9)); b.all[k].Revision != 9 {
			t.Errorf("full %v: what came after settling is not known: %v", full, b.all)
		}
	}
}

func TestWhatIsReleasedCanBeClaimedAgain(t *testing.T) {
	r, _, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	r.del(c)
	r.change(func(c *lease.Config) {
		p := c.Pools["tiny"]
		p.Reuse, p.Cooldown, p.Draining = 0, 0, true
		c.Pools["tiny"] = p
	})
	r.until("the block is given back", func() bool {
		r.agent.giveBackBlocks(t.Context())
		return r.block().Revision == 0
	})
	r.change(func(c *lease.Config) {
		p := c.Pools["tiny"]
		p.Draining = false
		c.Pools["tiny"] = p
	})
	r.until("an ADD has an address of it", func() bool { _, err := r.ask(wire.Insert, c); return err == nil })
	r.agrees()
}

// word is what the watch would say.
func (r *rig) word(u lease.Update[lease.Block]) {
	news, keys := r.agent.blocks.take(u)
	for _, c := range news {
		keys = append(keys, keyOf(c.now))
	}
	r.agent.gate.RLock()
	defer r.agent.gate.RUnlock()
	r.agent.reconcile(keys...)
}

func TestAGiftWhoseAnswerIsLostIsSettledAndTheAddressesAreNotLost(t *testing.T) {
	r, n2, _ := shared(t)
	r.session = 10 * time.Second
	r.add(r.tiny("a"))
	d, err := n2.Demand(t.Context(), lease.Demand{Pool: "nothing", V4: 1}) // of a pool that the agent has nothing of
	check(t, err)
	d.Pool = "tiny"
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	before := r.owns()
	r.etcd.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if r.agent.give(ctx, session, d, tiny) {
		t.Error("without etcd the demand has been met")
	}
	if out := r.agent.doubts(); len(out) != 1 || slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(out[0].part) }) {
		t.Errorf("in doubt are %v, owned %v", out, r.owns())
	}
	r.startEtcd()
	r.until("it is settled", func() bool { return len(r.agent.doubts()) == 0 && slices.Equal(r.owns(), before) })
}

func TestAGiftThatWasCarriedOutUnheardDoesNotComeBack(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	d, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
	check(t, err)
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	o := r.agent.takeOut(tiny, func(s *allocator.Space) (netip.Prefix, bool) { return s.Half(wire.Boottime(), 0) })
	_, err = session.Give(t.Context(), o.block, o.part, d)
	check(t, err)
	r.agent.doubt(o)
	r.until("it is settled", func() bool { return len(r.agent.doubts()) == 0 })
	if slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(o.part) }) {
		t.Errorf("the agent owns %v, and has given %v", r.owns(), o.part)
	}
	r.agrees()
}

func TestAPartInTheMiddleOfItsWayIsNotAddedByAnyWord(t *testing.T) {
	r, _, _ := shared(t)
	r.add(r.tiny("a"))
	o := r.agent.takeOut(tiny, func(s *allocator.Space) (netip.Prefix, bool) { return s.Half(wire.Boottime(), 0) })
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	now, err := session.SettleBlock(t.Context(), o.block)
	check(t, err)
	r.word(lease.Update[lease.Block]{Revision: now.Revision, Set: []lease.Block{now}})
	if slices.ContainsFunc(r.owns(), func(p netip.Prefix) bool { return p.Overlaps(o.part) }) {
		t.Errorf("the agent owns %v, and %v is on its way out", r.owns(), o.part)
	}
	// In doubt it comes back with the first word that is newer than what was compared.
	r.agent.doubt(o)
	now, err = session.SettleBlock(t.Context(), now)
	check(t, err)
	r.word(lease.Update[lease.Block]{Revision: now.Revision, Set: []lease.Block{now}})
	if own := r.owns(); !slices.Equal(own, []netip.Prefix{now.Prefix}) || len(r.agent.doubts()) > 0 {
		t.Errorf("the agent owns %v, and in doubt are %v", own, r.agent.doubts())
	}
}

func TestWhatWasGivenIsOutBeforeTheWatchTells(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	session, err := r.agent.holding(allocator.Stateless)
	check(t, err)
	for range 5 {
		d, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny"}) // of no family: the agent leaves it to the test
		check(t, err)
		if !r.agent.give(t.Context(), session, d, tiny) {
			t.Fatal("nothing was given")
		}
		own, b := r.owns(), r.block()
		for _, p := range b.Of("n2") {
			if slices.ContainsFunc(own, p.Prefix.Overlaps) {
				t.Errorf("the agent owns %v, and n2 has got %v", own, p.Prefix)
			}
		}
	}
}

func TestABlockWhoseReleaseIsNotAnsweredIsNotLost(t *testing.T) {
	r, _, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	r.del(c)
	r.change(func(c *lease.Config) {
		p := c.Pools["tiny"]
		p.Reuse, p.Cooldown, p.Draining = 0, 0, true
		c.Pools["tiny"] = p
	})
	r.until("the agent has the configuration, and all is published", func() bool {
		p, _, err := r.agent.pool("tiny")
		return err == nil && p.Draining && r.agent.backlog.len() == 0 && r.assigned(netip.MustParseAddr("10.7.0.2")) == nil
	})
	before := r.owns()
	r.etcd.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r.agent.giveBackBlocks(ctx)
	if own := r.owns(); len(r.agent.doubts()) != 1 || len(own) > 0 {
		t.Errorf("in doubt are %v, owned %v", r.agent.doubts(), own)
	}
	r.startEtcd()
	r.until("it is settled", func() bool { return len(r.agent.doubts()) == 0 })
	r.agrees()
	if b := r.block(); len(b.Of("n1")) > 0 && !slices.Equal(r.owns(), before) {
		t.Errorf("the agent owns %v of %+v", r.owns(), b)
	}
}

func TestAPartThatIsGivenBackLeavesTheOthersOfItsBlock(t *testing.T) {
	r, n2, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	_, err := n2.Demand(t.Context(), lease.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.until("it is given", func() bool { b := r.block(); return len(b.Of("n2")) > 0 })
	theirs := func() []lease.Part { b := r.block(); return b.Of("n2") }
	given := theirs()
	r.del(c)
	r.change(func(c *lease.Config) {
		p := c.Pools["tiny"]
		p.Reuse, p.Cooldown, p.Draining = 0, 0, true // nobody is to come back for it
		c.Pools["tiny"] = p
	})
	r.until("all of the agent's own is given back", func() bool {
		r.agent.giveBackBlocks(t.Context())
		b := r.block()
		return len(b.Of("n1")) == 0
	})
	r.agrees()
	if b := r.block(); !slices.Equal(theirs(), given) || len(b.Uncovered()) == 0 {
		t.Errorf("the block is %+v, n2 has %v", b, given)
	}
}

// silent keeps a session and nothing else.
type silent struct{}

func (silent) Arm() error           { return nil }
func (silent) Proven(time.Duration) {}
