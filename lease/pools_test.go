package lease

import (
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

// smallest is the pool of the shortest file that makes one.
func smallest() allocator.Pool {
	return allocator.Pool{
		Name: "default", CIDRs: []netip.Prefix{prefix("10.42.0.0/16")}, Stateful: []netip.Prefix{prefix("10.42.0.0/20")},
		Gateways: []netip.Addr{addr("10.42.0.1")},
	}.WithDefaults()
}

// small has one stateful block of 6 usable addresses, and one other block.
func small() allocator.Pool {
	p := allocator.Pool{Name: "small", CIDRs: []netip.Prefix{prefix("10.1.0.0/28")}, Stateful: []netip.Prefix{prefix("10.1.0.8/29")},
		BlockSize: allocator.BlockSize{V4: 29}}
	p.Exclude = []allocator.Range{{From: addr("10.1.0.14"), To: addr("10.1.0.14")}}
	return p.WithDefaults()
}

// both has two families.
func both() allocator.Pool {
	return allocator.Pool{
		Name: "both", CIDRs: []netip.Prefix{prefix("10.2.0.0/24"), prefix("fd00::/112")},
		Stateful: []netip.Prefix{prefix("10.2.0.0/26"), prefix("fd00::/122")},
	}.WithDefaults()
}

// apply puts pools into the configuration.
func (l *lab) apply(s *Store, pools ...allocator.Pool) *config.Config {
	l.Helper()
	base, err := s.Config.Read(l.Context())
	l.check(err)
	next := base.Clone()
	for _, p := range pools {
		next.Pools[p.Name] = p
	}
	after, err := s.Editor.Apply(l.Context(), base, next, config.Note{Who: "tester", Message: "test"})
	l.check(err)
	return after
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }
