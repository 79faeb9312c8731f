package allocator

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// smallest is the pool of the smallest configuration file.
func smallest() Pool {
	return Pool{
		Name:     "default",
		CIDRs:    []netip.Prefix{prefix("10.42.0.0/16")},
		Stateful: []netip.Prefix{prefix("10.42.0.0/20")},
		Gateways: []netip.Addr{addr("10.42.0.1")},
	}.WithDefaults()
}

// dual has both families and everything that a pool can have.
func dual() Pool {
	return Pool{
		Name:      "dual",
		CIDRs:     []netip.Prefix{prefix("10.43.0.0/24"), prefix("fd00:43::/64")},
		Stateful:  []netip.Prefix{prefix("10.43.0.0/26"), prefix("fd00:43::/112")},
		Gateways:  []netip.Addr{addr("10.43.0.1"), addr("fd00:43::1")},
		Exclude:   []Range{ranged("10.43.0.4-10.43.0.9"), ranged("fd00:43::/120")},
		BlockSize: BlockSize{V4: 28, V6: 124},
		Routes:    []Route{{To: prefix("192.168.0.0/16")}, {To: prefix("fd01::/16"), Via: addr("fd00:43::2")}},
		MTU:       1400,
		DNS:       DNS{Nameservers: []string{"10.43.0.2"}, Domain: "cluster.local", Search: []string{"svc.cluster.local"}},
		Retain:    Duration(time.Hour),
	}.WithDefaults()
}

// several has three CIDRs of IPv4, one of them with a gateway, and one with a router of its own.
func several() Pool {
	return Pool{
		Name:      "several",
		CIDRs:     []netip.Prefix{prefix("10.45.0.0/24"), prefix("10.43.0.0/24"), prefix("10.44.0.0/24"), prefix("fd00:43::/64")},
		Stateful:  []netip.Prefix{prefix("10.44.0.0/26"), prefix("10.45.0.0/24")},
		Gateways:  []netip.Addr{addr("10.43.0.1"), addr("fd00:43::1")},
		Exclude:   []Range{ranged("10.43.0.4-10.43.0.9"), ranged("10.45.0.0/29")},
		BlockSize: BlockSize{V4: 28, V6: 124},
		Routes: []Route{{To: prefix("fd01::/16")}, {To: prefix("10.0.0.0/8"), Via: addr("10.44.0.2")},
			{To: prefix("10.0.0.0/8"), Via: addr("10.43.0.1")}},
	}.WithDefaults()
}

// routed is dual in routed mode.
func routed() Pool {
	p := dual()
	p.Mode, p.Gateways, p.Routes = Routed, nil, []Route{{To: prefix("192.168.0.0/16")}, {To: prefix("fd01::/16"), Via: addr("fe80::1")}}
	return p
}

func TestAGoodPoolIsValid(t *testing.T) {
	for _, change := range []func(*Pool){
		func(p *Pool) { *p = smallest() },
		func(*Pool) {},
		func(p *Pool) { *p = smallest(); p.MTU = 576 },
		func(p *Pool) { *p = routed() },
		func(p *Pool) { *p = several() },
		func(p *Pool) { *p = several(); p.OnLink, p.Gateways = true, append(p.Gateways, addr("192.0.2.1")) },
		func(p *Pool) { *p = several(); p.Mode, p.Gateways, p.Routes = Routed, nil, nil },
		func(p *Pool) {
			*p = several()
			p.CIDRs, p.Stateful, p.Exclude[0] = append(p.CIDRs, prefix("10.43.1.0/24")), nil, ranged("10.43.0.250-10.43.1.9")
		}, // next to each other
		func(p *Pool) { no := false; *p = routed(); p.IPMasq, p.Default = true, &no },
		func(p *Pool) {
			*p = smallest()
			p.CIDRs[0], p.Stateful, p.Gateways = prefix("169.254.0.0/16"), nil, nil
		}, // a flat one may
		func(p *Pool) { p.MTU = 1280 },
		func(p *Pool) { p.MTU = 65535 },
		func(p *Pool) { p.Reuse, p.Cooldown, p.Retain = MaxTime, 0, MaxTime },
		func(p *Pool) { p.Gateways[1] = addr("fd00:43::ffff:ffff:ffff:ffff") }, // IPv6 has no broadcast
		func(p *Pool) { p.Stateful[0] = p.CIDRs[0] },
		func(p *Pool) { p.Gateways, p.Routes = nil, p.Routes[1:] }, // its via is a router without being a gateway
		func(p *Pool) { *p = smallest(); p.BlockSize.V4, p.Stateful = 16, nil },
		func(p *Pool) {
			*p = smallest()
			p.CIDRs[0], p.BlockSize.V4, p.Stateful = prefix("10.42.0.0/30"), 30, nil
		},
	} {
		p := dual()
		change(&p)
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestAWrongPoolIsRefusedWithWordsThatHelp(t *testing.T) {
	for _, c := range []struct {
		words  string
		change func(*Pool)
	}{
		{`pool name "a/b"`, func(p *Pool) { p.Name = "a/b" }},
		{`pool name is missing`, func(p *Pool) { p.Name = "" }},
		{`pool "dual": cidrs is missing`, func(p *Pool) { p.CIDRs = nil }},
		{`cidr is empty`, func(p *Pool) { p.CIDRs = []netip.Prefix{{}} }},
		{`want 10.43.0.0/24`, func(p *Pool) { p.CIDRs[0] = prefix("10.43.0.7/24") }},
		{`cidrs 10.43.0.0/24 and 10.43.0.128/25 overlap: want the larger one alone`,
			func(p *Pool) { p.CIDRs = append(p.CIDRs, prefix("10.43.0.128/25")) }},
		{`cidrs 10.43.0.0/24 and 10.43.0.0/24 overlap`, func(p *Pool) { p.CIDRs = append(p.CIDRs, prefix("10.43.0.0/24")) }},
		{`cidr 10.44.0.0/29 is smaller than a block`, func(p *Pool) { p.CIDRs = append(p.CIDRs, prefix("10.44.0.0/29")) }},
		{`gateway 10.43.0.9 is the second one in 10.43.0.0/24, after 10.43.0.1: want one in each CIDR at most`,
			func(p *Pool) { *p = several(); p.Gateways = append(p.Gateways, addr("10.43.0.9")) }},
		{`gateway 192.0.2.2 is the second one of its family outside of the pool, after 192.0.2.1`,
			func(p *Pool) {
				*p = several()
				p.OnLink, p.Gateways = true, []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}
			}},
		{`gateway 192.0.2.1 serves nobody, since each CIDR of its family has a gateway inside of it`,
			func(p *Pool) {
				*p = several()
				p.OnLink, p.Gateways = true, append(p.Gateways, addr("10.44.0.1"), addr("10.45.0.1"), addr("192.0.2.1"))
			}},
		{`exclude 10.44.0.250-10.45.0.3 lies outside`, func(p *Pool) { *p = several(); p.Exclude[0] = ranged("10.44.0.250-10.45.0.3") }},
		{`stateful range 10.44.0.0/23 lies outside`, func(p *Pool) { *p = several(); p.Stateful[0] = prefix("10.44.0.0/23") }},
		{`route 192.168.0.0/16 has no via, and the pool no gateway for containers of 10.44.0.0/24`,
			func(p *Pool) { *p = several(); p.Routes = []Route{{To: prefix("192.168.0.0/16")}} }},
		{`route 10.0.0.0/8 is there twice for containers of 10.44.0.0/24`,
			func(p *Pool) {
				*p = several()
				p.Routes = append(p.Routes, Route{To: p.Routes[1].To, Via: addr("10.44.0.9")})
			}},
		{`overlaps 127.0.0.0/8`, func(p *Pool) { p.CIDRs[0] = prefix("127.1.0.0/16") }},
		{`overlaps 0.0.0.0/8`, func(p *Pool) { p.CIDRs[0] = prefix("0.0.0.0/0") }},
		{`overlaps ::ffff:0.0.0.0/96`, func(p *Pool) { p.CIDRs[1] = prefix("::ffff:10.0.0.0/112") }},
		{`overlaps ff00::/8`, func(p *Pool) { p.CIDRs[1] = prefix("ff02::/64") }},
		{`smaller than a block of blockSize v4 28: want a CIDR of /28 or larger, or a blockSize v4 of 29`,
			func(p *Pool) { p.CIDRs[0] = prefix("10.43.0.0/29") }},
		{`too small: want /30 or larger`, func(p *Pool) { p.BlockSize.V4, p.CIDRs[0] = 32, prefix("10.43.0.0/31") }},
		{`blockSize v4 15: want 16 to 32`, func(p *Pool) { p.BlockSize.V4 = 15 }},
		{`blockSize v6 129: want 112 to 128`, func(p *Pool) { p.BlockSize.V6 = 129 }},
		{`gateway 10.44.0.1 lies outside of the pool: want an address in 10.43.0.0/24 or fd00:43::/64`,
			func(p *Pool) { p.Gateways[0] = addr("10.44.0.1") }},
		{`gateway 10.43.0.0 is an end of`, func(p *Pool) { p.Gateways[0] = addr("10.43.0.0") }},
		{`gateway 10.43.0.255 is an end of`, func(p *Pool) { p.Gateways[0] = addr("10.43.0.255") }},
		{`gateway fd00:43:: is an end of`, func(p *Pool) { p.Gateways[1] = addr("fd00:43::") }},
		{`gateway 10.43.0.2 is the second one in 10.43.0.0/24`, func(p *Pool) { p.Gateways = append(p.Gateways, addr("10.43.0.2")) }},
		{`gateway invalid IP lies outside`, func(p *Pool) { p.Gateways[0] = netip.Addr{} }},
		{`want an address in 10.43.0.0/24 or fd00:43::/64, or gatewayOnLink: true`, func(p *Pool) { p.Gateways[1] = addr("fe80::1") }},
		{`gateway 224.0.0.1: no router can have`, func(p *Pool) { p.OnLink, p.Gateways[0] = true, addr("224.0.0.1") }},
		{`gateway 127.0.0.1: no router can have`, func(p *Pool) { p.OnLink, p.Gateways[0] = true, addr("127.0.0.1") }},
		{`gateway invalid IP lies outside`, func(p *Pool) { p.OnLink, p.Gateways[0] = true, netip.Addr{} }},
		{`gateway 10.43.0.255 is an end of`, func(p *Pool) { p.OnLink, p.Gateways[0] = true, addr("10.43.0.255") }},
		{`gateway fe80::1: the pool has no addresses of its family`,
			func(p *Pool) { *p = smallest(); p.OnLink, p.Gateways = true, []netip.Addr{addr("fe80::1")} }},
		{`stateful range 10.43.0.0/29 is not aligned to blocks: want whole blocks of /28, such as 10.43.0.0/28`,
			func(p *Pool) { p.Stateful[0] = prefix("10.43.0.0/29") }},
		{`stateful range 10.43.0.8/28 has bits beyond its length: want 10.43.0.0/28`, func(p *Pool) { p.Stateful[0] = prefix("10.43.0.8/28") }},
		{`stateful range 10.44.0.0/28 lies outside`, func(p *Pool) { p.Stateful[0] = prefix("10.44.0.0/28") }},
		{`stateful range 10.0.0.0/8 lies outside`, func(p *Pool) { p.Stateful[0] = prefix("10.0.0.0/8") }},
		{`stateful range 10.42.0.0/15 lies outside`,
			func(p *Pool) { *p = smallest(); p.Stateful[0] = prefix("10.42.0.0/15") }},
		{`10.43.0.0/26 and 10.43.0.16/28 overlap`, func(p *Pool) { p.Stateful[1] = prefix("10.43.0.16/28") }},
		{`exclude 10.43.0.250-10.43.1.5 lies outside`, func(p *Pool) { p.Exclude[0] = ranged("10.43.0.250-10.43.1.5") }},
		{`exclude 10.42.255.0-10.43.0.5 lies outside`, func(p *Pool) { p.Exclude[0] = ranged("10.42.255.0-10.43.0.5") }},
		{`exclude holds an empty range`, func(p *Pool) { p.Exclude[0] = Range{} }},
		{`exclude holds an empty range`, func(p *Pool) { p.Exclude[0] = Range{From: addr("10.43.0.4")} }},
		{`exclude holds an empty range`, func(p *Pool) { p.Exclude[0] = Range{To: addr("10.43.0.4")} }},
		{`want its first address`, func(p *Pool) { p.Exclude[0] = Range{addr("10.43.0.4"), addr("fd00:43::4")} }},
		{`want its first address`, func(p *Pool) { p.Exclude[0] = Range{addr("10.43.0.9"), addr("10.43.0.4")} }},
		{`route 192.168.0.0/16 is there twice`, func(p *Pool) { p.Routes[1] = p.Routes[0] }},
		{`route 192.168.1.1/16 has bits`, func(p *Pool) { p.Routes[0].To = prefix("192.168.1.1/16") }},
		{`via 10.44.0.1: want a via in 10.43.0.0/24`, func(p *Pool) { p.Routes[0].Via = addr("10.44.0.1") }},
		{`via fd00:43::9: want a via in 10.43.0.0/24`, func(p *Pool) { p.Routes[0].Via = addr("fd00:43::9") }},
		{`has no via, and the pool no gateway`, func(p *Pool) { p.Gateways = p.Gateways[1:] }},
		{`the pool has no addresses of its family`, func(p *Pool) { *p = smallest(); p.Routes = []Route{{To: prefix("fd01::/16")}} }},
		{`mode "rooted": want flat, routed, vxlan or auto`, func(p *Pool) { p.Mode = "rooted" }},
		{`ipMasq: the networks of a flat pool say it`, func(p *Pool) { p.IPMasq = true }},
		{`gateways: a pool of mode routed has none to configure: the gateway of its containers is 169.254.1.1 and fe80::1 on each node`,
			func(p *Pool) { *p = routed(); p.Gateways = []netip.Addr{addr("10.43.0.1")} }},
		{`gateways: a pool of mode vxlan has none`, func(p *Pool) { *p = routed(); p.Mode, p.Gateways = VXLAN, []netip.Addr{addr("169.254.1.1")} }},
		{`gatewayOnLink: a pool of mode auto has no gateways`, func(p *Pool) { *p = routed(); p.Mode, p.OnLink = Auto, true }},
		{`cidr 169.254.64.0/24 overlaps 169.254.0.0/16, which no node routes`,
			func(p *Pool) { *p = routed(); p.CIDRs[0] = prefix("169.254.64.0/24") }},
		{`cidr 169.0.0.0/8 overlaps 169.254.0.0/16`, func(p *Pool) { *p = routed(); p.CIDRs[0] = prefix("169.0.0.0/8") }},
		{`route 192.168.0.0/16 via 10.43.0.2: the containers of a pool of mode routed reach nothing but their node directly`,
			func(p *Pool) { *p = routed(); p.Routes[0].Via = addr("10.43.0.2") }},
		{`route fd01::/16 via 169.254.1.1: the containers of a pool of mode routed`, func(p *Pool) { *p = routed(); p.Routes[1].Via = addr("169.254.1.1") }},
		{`mtu 1279: want 1280 to 65535`, func(p *Pool) { p.MTU = 1279 }},
		{`mtu 575: want 576 to 65535`, func(p *Pool) { *p = smallest(); p.MTU = 575 }},
		{`mtu 65536`, func(p *Pool) { p.MTU = 65536 }},
		{`mtu -1`, func(p *Pool) { p.MTU = -1 }},
		{`dns nameserver "ns1": want an address`, func(p *Pool) { p.DNS.Nameservers = []string{"ns1"} }},
		{`dns "a\nnameserver 6.6.6.6"`, func(p *Pool) { p.DNS.Domain = "a\nnameserver 6.6.6.6" }},
		{`dns "a\x7f": want no space`, func(p *Pool) { p.DNS.Search = []string{"a\x7f"} }},
		{`dns "a b": want no space`, func(p *Pool) { p.DNS.Options = []string{"a b"} }},
		{`reuse 876000h0m1s: want 876000h0m0s at most`, func(p *Pool) { p.Reuse = MaxTime + Duration(time.Second) }},
		{`reuse -1s: want 0s or more`, func(p *Pool) { p.Reuse = Duration(-time.Second) }},
		{`cooldown -1s`, func(p *Pool) { p.Cooldown = Duration(-time.Second) }},
		{`retain -1s`, func(p *Pool) { p.Retain = Duration(-time.Second) }},
	} {
		p := dual()
		c.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("got error %v, want one with %q", err, c.words)
		}
	}
}

func TestPoolsNeverOverlap(t *testing.T) {
	pool := func(name string, cidrs ...string) Pool {
		p := Pool{Name: name}
		for _, c := range cidrs {
			p.CIDRs = append(p.CIDRs, prefix(c))
		}
		return p
	}
	apart := []Pool{pool("a", "10.1.0.0/16", "fd01::/64"), pool("b", "10.2.0.0/16"), pool("c", "10.0.0.0/16", "fd00::/64")}
	if err := Overlap(apart...); err != nil {
		t.Error(err)
	}
	for _, other := range []Pool{pool("d", "10.0.0.0/8"), pool("d", "10.2.3.0/24"), pool("d", "192.168.0.0/16", "fd01::/96"),
		pool("d", "::/0")} {
		err := Overlap(append(apart, other)...)
		if err == nil || !strings.Contains(err.Error(), `pool "d"`) {
			t.Errorf("%v: got error %v, want one that names the pool", other.CIDRs, err)
		}
	}
}

func TestAGatewayBeyondThePoolIsPermittedByAKeyOfItsOwn(t *testing.T) {
	for _, gateways := range [][]netip.Addr{{addr("169.254.1.1"), addr("fe80::1")}, {addr("192.0.2.1"), addr("2001:db8::1")},
		{addr("10.43.0.1"), addr("fe80::1")}} {
		p := dual()
		p.OnLink, p.Gateways = true, gateways
		p.Routes = append(p.Routes, Route{To: prefix("fd99::/32"), Via: gateways[1]})
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		if p.GatewayOf(addr("10.43.0.77")) != gateways[0] || p.GatewayOf(addr("fd00:43::77")) != gateways[1] || p.Contains(gateways[1]) {
			t.Errorf("gateways %v: containers have %v", gateways, p.GatewaysOf([]netip.Addr{addr("10.43.0.77"), addr("fd00:43::77")}))
		}
	}
}
