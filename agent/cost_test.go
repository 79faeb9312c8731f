package agent

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

// allocated is how many bytes f allocates: as much as it copies of whatever it looks through.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// An agent that does not run, so that nothing allocates beside what is measured.
func TestWhatConcernsOneBlockOrOneContainerCostsTheSameHoweverManyTheNodeHas(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open()
	a := r.agent
	pool := allocator.Pool{Name: "crowded", CIDRs: prefixes("172.16.0.0/12")}.WithDefaults()
	a.Configure(&config.Config{Revision: 1, Pools: map[string]allocator.Pool{"crowded": pool}})
	addr, n := netip.MustParseAddr("172.16.0.0"), 0
	hold := func(more int) {
		for range more {
			at := allocator.Attachment{Network: "net", Container: fmt.Sprint(n), Interface: "eth0"}
			check(t, a.Journal.Hold(&journal.Entry{
				Attachment: at, Class: allocator.Stateless, Pool: "crowded", Addresses: []netip.Addr{addr}, NamespaceID: n + 1,
				Wiring: journal.Wiring{Port: fmt.Sprint("bthx", n)},
			}))
			if n%2 == 1 {
				a.Journal.Release(journal.Release{Attachment: at, At: 1})
			}
			addr, n = addr.Next(), n+1
		}
	}
	one := func() (bytes uint64, looked int64) {
		block := record.Block{Pool: "crowded", Prefix: prefixes("172.16.0.0/26")[0], Revision: 1,
			Parts: []record.Part{{Prefix: prefixes("172.16.0.0/26")[0], Owner: "n2"}}}
		before := a.Journal.Looked()
		bytes = allocated(func() {
			a.addresses.IsolateLost(block)
			a.addresses.Pools.With(addresses.SpaceKey{Pool: "crowded", Family: allocator.V4}, func(s *allocator.Space) {
				a.addresses.Gain(s, "crowded", block.Prefix, false)
				s.Drop(block.Prefix)
			})
			a.detacher.Handle(t.Context(), netops.Event{Kind: netops.NamespaceGone, NamespaceID: -2})
			a.detacher.Handle(t.Context(), netops.Event{Kind: netops.PortGone, Port: "bthnone"})
			a.Journal.ForgetWithin("crowded", prefixes("172.31.0.0/26")[0])
		})
		return bytes, a.Journal.Looked() - before
	}
	hold(64)
	one() // what is allocated once
	few, lookedAtFew := one()
	hold(20_000)
	many, lookedAtMany := one()
	if many > 4*few+16<<10 {
		t.Errorf("%d bytes are allocated on a node that holds 64 addresses, and %d on one that holds 20,064", few, many)
	}
	if lookedAtFew == 0 || lookedAtMany > lookedAtFew {
		t.Errorf("%d of the journal's entries and buckets are looked at on a node that holds 64 addresses, and %d on one that holds 20,064",
			lookedAtFew, lookedAtMany)
	}
}
