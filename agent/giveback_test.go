package agent

import (
	"slices"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

func TestWhatIsReleasedCanBeClaimedAgain(t *testing.T) {
	r, _, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	r.del(c)
	r.change(func(c *config.Config) {
		p := c.Pools["tiny"]
		p.Reuse, p.Cooldown, p.Draining = 0, 0, true
		c.Pools["tiny"] = p
	})
	r.until("the block is given back", func() bool {
		r.agent.exchange.GiveBackBlocks(t.Context(), everyPool)
		return r.block().Revision == 0
	})
	r.change(func(c *config.Config) {
		p := c.Pools["tiny"]
		p.Draining = false
		c.Pools["tiny"] = p
	})
	r.until("an ADD has an address of it", func() bool { _, err := r.ask(wire.Insert, c); return err == nil })
	r.agrees()
}

func TestAPartThatIsGivenBackLeavesTheOthersOfItsBlock(t *testing.T) {
	r, n2, _ := shared(t)
	c := r.tiny("a")
	r.add(c)
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.until("it is given", func() bool { b := r.block(); return len(b.Of("n2")) > 0 })
	theirs := func() []record.Part { b := r.block(); return b.Of("n2") }
	given := theirs()
	r.del(c)
	r.change(func(c *config.Config) {
		p := c.Pools["tiny"]
		p.Reuse, p.Cooldown, p.Draining = 0, 0, true // nobody is to come back for it
		c.Pools["tiny"] = p
	})
	r.until("all of the agent's own is given back", func() bool {
		r.agent.exchange.GiveBackBlocks(t.Context(), everyPool)
		b := r.block()
		return len(b.Of("n1")) == 0
	})
	r.agrees()
	if b := r.block(); !slices.Equal(theirs(), given) || len(b.Uncovered()) == 0 {
		t.Errorf("the block is %+v, n2 has %v", b, given)
	}
}

func TestABlockInAStatefulRangeIsGivenBackThoughThereIsNoOtherToSpare(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web")) // of the node's only other block
	_, err := r.etcdctl().Put(t.Context(), "/berth/v1/blocks/default/10.42.3.0",
		`{"prefix":"10.42.3.0/26","parts":[{"prefix":"10.42.3.0/26","owner":"n1"}]}`)
	check(t, err)
	r.until("it is given back", func() bool {
		r.agent.exchange.GiveBackBlocks(t.Context(), everyPool)
		blocks, err := r.store.Blocks.List(t.Context())
		check(t, err)
		return !slices.ContainsFunc(blocks, func(b record.Block) bool { return b.Prefix.String() == "10.42.3.0/26" })
	})
}
