package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// crowded is a rig whose node owns 256 blocks, with a container or an address that one has left at each of their
// addresses.
func crowded(b *testing.B) (r *rig, blocks []record.Block) {
	r = newRig(b)
	b.Cleanup(func() {
		r.agent.Gate.Exclusive(func() { r.agent.Journal.Forget(r.agent.Journal.Freed()) })
	})
	pool := allocator.Pool{Name: "crowded", CIDRs: prefixes("10.80.0.0/18")}.WithDefaults()
	r.apply(pool)
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("crowded"); return err == nil })
	for i, addr := 0, netip.MustParseAddr("10.80.0.0"); pool.Contains(addr); i, addr = i+1, addr.Next() {
		at := allocator.Attachment{Network: "net", Container: fmt.Sprint(i), Interface: "eth0"}
		check(b, r.agent.Journal.Hold(&journal.Entry{Attachment: at, Class: allocator.Stateless, Pool: "crowded", Addresses: []netip.Addr{addr},
			Answered: 1}))
		if i%2 == 0 {
			r.agent.Journal.Release(journal.Release{Attachment: at, At: time.Duration(i)})
		}
		if prefix := pool.BlockOf(addr); prefix.Addr() == addr {
			blocks = append(blocks, record.Block{Pool: "crowded", Prefix: prefix, Revision: 1, Parts: []record.Part{{Prefix: prefix, Owner: "n1"}}})
		}
	}
	return r, blocks
}

func BenchmarkANodeFindsOutWhatItHolds(b *testing.B) {
	r, blocks := crowded(b)
	defer inside(r.agent.Gate.Exclusive)()
	r.agent.addresses.SettleParts(blocks, 1, nil)
	for b.Loop() {
		if n := len(r.agent.addresses.Held(true)); n != len(blocks) {
			b.Fatalf("something is held of %d blocks, want %d", n, len(blocks))
		}
	}
}

func BenchmarkANodeSettlesItsParts(b *testing.B) {
	r, blocks := crowded(b)
	defer inside(r.agent.Gate.Exclusive)()
	for b.Loop() {
		r.agent.addresses.Pools.With(addresses.SpaceKey{Pool: "crowded", Family: allocator.V4}, func(s *allocator.Space) {
			for _, block := range blocks {
				s.Drop(block.Prefix)
			}
		})
		r.agent.addresses.SettleParts(blocks, 1, nil)
		if c := r.counts(addresses.SpaceKey{Pool: "crowded", Family: allocator.V4}); c.Held != 64*128 || c.Free > 0 {
			b.Fatalf("after settling %+v", c)
		}
	}
}
