package faults

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Small is the size of the ordinary run: so few addresses that nodes want each other's.
var Small = Size{
	Nodes: 4, Members: 12, Replicas: 22,
	Pool: netip.MustParsePrefix("10.42.0.0/26"), Stateful: netip.MustParsePrefix("10.42.0.0/28"), Block: 29,
	Session: 3 * time.Second, AddressLease: 8 * time.Second,
}

// SizeOf is the size of a seed's run: every second one has both families.
func SizeOf(seed uint64) Size {
	size := Small
	size.Both = seed%2 == 0
	return size
}

// addresses is how many the pool has for replicas: not the stateful ones, among which are the network's and the gateway's
// where the pool is a subnet, and not the broadcast address then.
func (s Size) addresses(m Mode) int {
	all := 1<<(32-s.Pool.Bits()) - 1<<(32-s.Stateful.Bits())
	if m.Subnet {
		all--
	}
	return all
}

// six is the prefix of IPv6 with as many addresses as one of IPv4 has.
func six(p netip.Prefix) netip.Prefix {
	v4 := p.Addr().As4()
	v6 := netip.MustParseAddr("fd42::").As16()
	copy(v6[12:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(v6), p.Bits()+96)
}

// families gives a prefix, and where the size has both families the one of IPv6.
func (s Size) families(p netip.Prefix) []netip.Prefix {
	if s.Both {
		return []netip.Prefix{p, six(p)}
	}
	return []netip.Prefix{p}
}

// gateways are the first addresses of the pool.
func (s Size) gateways() (all []netip.Prefix) {
	for _, p := range s.families(s.Pool) {
		all = append(all, netip.PrefixFrom(p.Addr().Next(), p.Bits()))
	}
	return all
}

// configuration is that of the pool and the settings, as an operator writes it.
func (s Size) configuration(m Mode, strict bool, mtu int, route bool) string {
	fencing, routes := "evidence", ""
	if strict {
		fencing = "strict"
	}
	if route {
		routes = "\n    routes: [{to: 192.0.2.0/24}]"
	}
	gateways := ""
	if m.Subnet {
		var words []string
		for _, g := range s.gateways() {
			words = append(words, quoted(g.Addr()))
		}
		gateways = fmt.Sprintf("\n    gateways: [%s]", strings.Join(words, ", "))
	}
	return fmt.Sprintf(`pools:
  - name: default
    mode: %s
    cidrs: [%s]
    stateful: [%s]%s
    blockSize: {v4: %d, v6: %d}
    reuse: 2s
    cooldown: 1s
    mtu: %d%s
settings:
  fencing: %s
  session: %v
  addressLease: %v
`, m.Name, quoted(s.families(s.Pool)...), quoted(s.families(s.Stateful)...), gateways, s.Block, s.Block+96,
		mtu, routes, fencing, s.Session, s.AddressLease)
}

// quoted is a list in YAML.
func quoted[T fmt.Stringer](all ...T) string {
	var words []string
	for _, each := range all {
		words = append(words, fmt.Sprintf("%q", each))
	}
	return strings.Join(words, ", ")
}
