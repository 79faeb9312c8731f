package agent

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
)

func TestWhatIsDemandedIsGivenToTheLastAddressAndNothingThatIsHeld(t *testing.T) {
	r, n2, _ := shared(t)
	held := r.add(r.tiny("a"))
	before := 13
	for before > 1 {
		d, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", V4: 1})
		check(t, err)
		r.until("the demand is met", func() bool { all, err := r.store.Blocks.Demands(t.Context()); return err == nil && len(all) == 0 })
		r.agrees()
		c := r.counts(tiny)
		if left := c.Free + c.Released + c.Held; left >= before || before-left > max(1, (before-1)/2) {
			t.Errorf("of %d addresses, one of them held, %d are left", before, left)
		} else {
			before = left
		}
		if b := r.block(); b.OwnerOf(held) != "n1" || d.Revision >= b.Revision {
			t.Errorf("after the transfer the block is %+v, and %s is held on n1", b, held)
		}
	}
	// What is released then is given, too.
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.del(wire.Container{Network: "net", ID: "a", Interface: "eth0"})
	r.until("the last one is given", func() bool { b := r.block(); return b.OwnerOf(held) == "n2" })
	r.agrees()
	if n := r.agent.Journal.Isolated(); n > 0 {
		t.Errorf("%d containers are isolated", n)
	}
	r.until("nothing is assigned", func() bool { return r.assigned(held) == nil })
}

func TestWhatAnAddHereWaitsForIsNotGiven(t *testing.T) {
	r, n2, _ := shared(t)
	r.add(r.tiny("a"))
	me := r.agent.addresses.Waiters.Join(tiny) // as many as there are addresses
	for range 11 {
		r.agent.addresses.Waiters.Join(tiny)
	}
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "tiny", V4: 1})
	check(t, err)
	r.demanded("n1")
	time.Sleep(100 * time.Millisecond)
	if b := r.block(); len(b.Of("n2")) > 0 {
		t.Errorf("the block is %+v, and all of it is waited for", b)
	}
	r.agent.addresses.Waiters.Leave(tiny, me)
	r.agent.addresses.Freed(tiny)
	r.until("the one that nobody waits for is given", func() bool {
		b := r.block()
		theirs := b.Of("n2")
		return len(theirs) == 1 && theirs[0].Prefix == netip.MustParsePrefix("10.7.0.14/31") // with the broadcast address
	})
}

func TestWhereABlockCannotBeSplitFurtherItIsGivenOfAnother(t *testing.T) {
	r, n2, _ := shared(t)
	r.apply(allocator.Pool{Name: "large", CIDRs: prefixes("10.9.0.0/20"), BlockSize: allocator.BlockSize{V4: 21}})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("large"); return err == nil })
	split := []record.Part{{Prefix: netip.MustParsePrefix("10.9.0.0/22"), Owner: "n1"}}
	for addr := netip.MustParseAddr("10.9.4.0"); len(split) < 1024; addr = addr.Next() { // as many as a block may have
		split = append(split, record.Part{Prefix: netip.PrefixFrom(addr, 32), Owner: []string{"n2", "n3"}[len(split)%2]})
	}
	whole := netip.MustParsePrefix("10.9.8.0/21")
	for prefix, parts := range map[string][]record.Part{"10.9.0.0/21": split, whole.String(): {{Prefix: whole, Owner: "n1"}}} {
		text, err := json.Marshal(map[string]any{"prefix": prefix, "parts": parts})
		check(t, err)
		_, err = r.etcdctl().Put(t.Context(), "/berth/v1/blocks/large/"+netip.MustParsePrefix(prefix).Addr().String(), string(text))
		check(t, err)
	}
	r.until("the agent has its parts of both", func() bool {
		return r.counts(addresses.SpaceKey{Pool: "large", Family: allocator.V4}).Free == 1024-1+2048-1
	})
	_, err := block.Demand(t.Context(), n2, record.Demand{Pool: "large", V4: 1})
	check(t, err)
	r.until("n2 has got addresses of the whole one", func() bool {
		b, _ := r.known("large", whole.Addr())
		return len(b.Of("n2")) > 0
	})
	if c := r.counts(addresses.SpaceKey{Pool: "large", Family: allocator.V4}); c.Free < 1024-1 {
		t.Errorf("of the one that was not given of, addresses are lost: %+v", c)
	}
}
