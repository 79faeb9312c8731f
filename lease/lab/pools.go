package lab

import (
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
)

// Smallest is the pool of the shortest file that makes one.
func Smallest() allocator.Pool {
	return allocator.Pool{
		Name: "default", CIDRs: []netip.Prefix{Prefix("10.42.0.0/16")}, Stateful: []netip.Prefix{Prefix("10.42.0.0/20")},
		Gateways: []netip.Addr{Addr("10.42.0.1")},
	}.WithDefaults()
}

// Small has one stateful block of 6 usable addresses, and one other block.
func Small() allocator.Pool {
	p := allocator.Pool{Name: "small", CIDRs: []netip.Prefix{Prefix("10.1.0.0/28")}, Stateful: []netip.Prefix{Prefix("10.1.0.8/29")},
		BlockSize: allocator.BlockSize{V4: 29}}
	p.Exclude = []allocator.Range{{From: Addr("10.1.0.14"), To: Addr("10.1.0.14")}}
	return p.WithDefaults()
}

// Apply puts pools into the configuration.
func (l *Lab) Apply(s *Store, pools ...allocator.Pool) *config.Config {
	l.Helper()
	base, err := s.Config.Read(l.Context())
	l.Check(err)
	next := base.Clone()
	for _, p := range pools {
		next.Pools[p.Name] = p
	}
	after, err := s.Editor.Apply(l.Context(), base, next, config.Note{Who: "tester", Message: "test"})
	l.Check(err)
	return after
}

// Prefix is a prefix by its text.
func Prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// Addr is an address by its text.
func Addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// With is a configuration with pools put into it.
func With(base *config.Config, pools ...allocator.Pool) *config.Config {
	next := base.Clone()
	for _, p := range pools {
		next.PutPool(p)
	}
	return next
}
