package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// tiny is one block of 13 usable addresses, 10.7.0.2 to 10.7.0.14.
var tiny = addresses.SpaceKey{Pool: "tiny", Family: allocator.V4}

// shared is a rig with the pool tiny and a second node, of which only the session is there.
func shared(t *testing.T) (r *rig, n2 *session.Session, claim func() record.Block) {
	r = newRig(t)
	r.apply(allocator.Pool{
		Name: "tiny", CIDRs: prefixes("10.7.0.0/28"), Gateways: []netip.Addr{netip.MustParseAddr("10.7.0.1")},
		BlockSize: allocator.BlockSize{V4: 28},
	})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("tiny"); return err == nil })
	n2, err := r.peer.Sessions.Join(t.Context(), record.Node{
		Name: "n2", Machine: "m2", Boot: "b2", Journal: "j2", Fencing: record.FencingEvidence,
		Session: allocator.Duration(10 * time.Second), AddressLease: allocator.Duration(time.Minute),
	})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { _ = n2.Keep(ctx, silent{}) })
	t.Cleanup(func() { cancel(); kept.Wait() })
	return r, n2, func() record.Block {
		t.Helper()
		b, err := block.Claim(t.Context(), n2, "tiny", r.agent.Config().PoolRevisions["tiny"], netip.MustParsePrefix("10.7.0.0/28"))
		check(t, err)
		r.until("the agent knows who owns the block", func() bool {
			now, ok := r.known("tiny", b.Prefix.Addr())
			return ok && now.Revision >= b.Revision
		})
		return b
	}
}

// known is the block of an address as the agent knows it.
func (r *rig) known(pool string, addr netip.Addr) (record.Block, bool) {
	p, _, err := r.agent.Pool(pool)
	if err != nil {
		return record.Block{}, false
	}
	return r.agent.addresses.Blocks.Of(p, addr)
}

// counts are those of a space of the agent's.
func (r *rig) counts(k addresses.SpaceKey) (c allocator.Counts) {
	r.agent.addresses.Pools.With(k, func(s *allocator.Space) { c = s.Counts() })
	return c
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
	r.until("the ADD waits", func() bool { return r.agent.addresses.Waiters.Len(tiny) > 0 })
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

func (r *rig) demanded(node string) (d record.Demand) {
	r.t.Helper()
	r.until(node+" demands", func() bool {
		all, err := r.store.Blocks.Demands(r.t.Context())
		check(r.t, err)
		i := slices.IndexFunc(all, func(each record.Demand) bool { return each.Node == node })
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
		all, err := r.store.Blocks.Demands(r.t.Context())
		check(r.t, err)
		return len(all) == 0
	})
}

// owns are the parts that the agent's allocator has of the pool tiny.
func (r *rig) owns() (parts []netip.Prefix) {
	r.agent.addresses.Pools.With(tiny, func(s *allocator.Space) { parts = s.Parts() })
	return parts
}

func (r *rig) block() record.Block {
	r.t.Helper()
	all, err := r.store.Blocks.List(r.t.Context())
	check(r.t, err)
	i := slices.IndexFunc(all, func(b record.Block) bool { return b.Pool == "tiny" })
	if i < 0 {
		return record.Block{Pool: "tiny", Prefix: netip.MustParsePrefix("10.7.0.0/28")}
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

// word is what the watch would say.
func (r *rig) word(u kv.Update[record.Block]) {
	_, keys, _ := r.agent.addresses.Blocks.Apply(u)
	for _, b := range u.Set {
		keys = append(keys, b.ID())
	}
	r.agent.Gate.Shared(func() { r.agent.addresses.Reconcile(keys...) })
}

// silent keeps a session and nothing else.
type silent struct{}

func (silent) Arm() error           { return nil }
func (silent) Proven(time.Duration) {}
