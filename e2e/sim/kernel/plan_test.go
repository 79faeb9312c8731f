package kernel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-ipam/berth/netops"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// An operation is done to both sides alike; what it answers is compared. later: the real kernel needs time for its effect.
type operation struct {
	what  string
	run   func(s side) string
	later bool
	wait  time.Duration // before the sides are compared
}

// A planner draws operations. What it remembers is the same for both sides.
type planner struct {
	*rand.Rand
	ports map[string]*attachedTo
	names []string // of ports that ever were
	alive [namespaces]bool
}

type attachedTo struct {
	netops.Port // without Netns
	n           int
}

const namespaces = 4

func pick[T any](g *planner, of ...T) T { return of[g.IntN(len(of))] }

// seldom is true once in n times.
func (g *planner) seldom(n int) bool { return g.IntN(n) == 0 }

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func way(to, via string) netops.Route {
	r := netops.Route{To: netip.MustParsePrefix(to)}
	if via != "" {
		r.Via = netip.MustParseAddr(via)
	}
	return r
}

// port draws a port as it is to be.
func (g *planner) port() *attachedTo {
	n, iface := g.IntN(namespaces), pick(g, "eth0", "eth0", "eth1")
	p := &attachedTo{n: n, Port: netops.Port{
		Name: netops.PortName("net", fmt.Sprint("c", n), iface), Bridge: pick(g, "berth0", "berth0", "berth1"), Interface: iface,
		Alias: strings.Repeat(fmt.Sprint("owner of ", n, iface, " "), pick(g, 1, 1, 30, 100)), MTU: pick(g, 0, 0, 1400, 1500),
		Addresses: prefixes(fmt.Sprintf("10.42.%d.%d/16", len(iface), n+2)),
	}}
	if iface == "eth1" {
		p.Addresses = prefixes(fmt.Sprintf("10.43.0.%d/16", n+2))
	}
	if g.seldom(2) {
		p.Addresses = append(p.Addresses, netip.MustParsePrefix(fmt.Sprintf("fd4%d::%d/64", pick(g, 2, 3), n+2)))
	}
	g.reroute(&p.Port)
	if g.seldom(12) {
		g.spoil(&p.Port)
	}
	return p
}

// reroute draws a port's gateways and routes.
func (g *planner) reroute(p *netops.Port) {
	p.Gateways, p.Routes = nil, nil
	near := p.Addresses[0].Masked().Addr().Next()
	if !g.seldom(4) {
		p.Gateways = append(p.Gateways, pick(g, near, near.Next()))
	}
	if len(p.Addresses) > 1 && g.seldom(2) {
		p.Gateways = append(p.Gateways, p.Addresses[1].Masked().Addr().Next())
	}
	if g.seldom(3) {
		p.Routes = append(p.Routes, netops.Route{To: netip.MustParsePrefix("10.99.0.0/16"), Via: near.Next()})
	}
	if g.seldom(4) {
		p.Routes = append(p.Routes, pick(g, way("192.0.2.0/24", ""), way("10.98.0.0/16", ""), way("10.99.1.0/24", near.String())))
	}
	if len(p.Addresses) > 1 && g.seldom(3) {
		p.Routes = append(p.Routes, netops.Route{To: netip.MustParsePrefix("fd99::/32"), Via: p.Addresses[1].Masked().Addr().Next()})
	}
}

// member is a port in a class, which sends from its own MAC and addresses.
func member(p netops.Port, class string) netops.Member {
	m := netops.Member{Port: p.Name, Class: class, MAC: macFor(&p)}
	for _, a := range p.Addresses {
		m.Addresses = append(m.Addresses, a.Addr())
	}
	return m
}

// member draws what a port of a name may send in a class.
func (g *planner) member(name, class string) netops.Member {
	p := g.ports[name]
	if p == nil || g.seldom(5) {
		return netops.Member{Port: name, Class: class, Trusted: !g.seldom(10)}
	}
	m := member(p.Port, class)
	m.Isolated = g.seldom(3)
	switch g.IntN(12) {
	case 0:
		m.Addresses = nil
	case 1:
		m.Addresses = append(m.Addresses, netip.MustParseAddr("10.42.77.1"), netip.MustParseAddr("fd42::77"))
	case 2:
		m.MAC = []byte{2, 0, 0, 0, 0, 7}
	}
	return m
}

// apart draws what isolated ports exchange nothing with.
func (g *planner) apart() (all []netops.Range) {
	for _, p := range prefixes("10.42.0.0/24", "10.42.4.0/24", "fd42::/64") {
		if g.seldom(2) {
			all = append(all, netops.Range{From: p.Addr().Next(), To: p.Addr().Next().Next()})
		}
	}
	return all
}

// spoil makes a port one that cannot be, or hardly.
func (g *planner) spoil(p *netops.Port) {
	switch g.IntN(13) {
	case 0:
		p.Bridge = pick(g, "absent", "lo", "eth0")
	case 1:
		p.MTU = pick(g, 70000, 60, 600)
	case 2:
		p.Alias = strings.Repeat("a", 5000)
	case 3:
		p.Name = "eth7"
	case 4:
		p.Interface = pick(g, "a/b", "", "a-name-too-long-for-it")
	case 5:
		p.MAC = []byte{1, 2, 3, 4, 5, 6}
	case 6:
		p.Addresses = nil
	case 7:
		p.Addresses = append(p.Addresses, p.Addresses[0])
	case 8:
		p.Gateways = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	case 9:
		p.Routes = []netops.Route{way("10.9.0.0/16", "192.0.2.1")}
	case 10:
		p.Routes = []netops.Route{way("10.9.0.0/16", "fd42::1")}
	case 11:
		p.Routes = []netops.Route{way("10.9.0.0/16", ""), way("10.9.0.0/16", "")}
	case 12:
		p.Gateways, p.OnLink = []netip.Addr{netip.MustParseAddr("192.0.2.1")}, true
	}
}

// known is a port that was asked for before; nil: there is none.
func (g *planner) known() *attachedTo {
	if len(g.names) == 0 {
		return nil
	}
	return g.ports[pick(g, g.names...)]
}

// name is a port's, known or not.
func (g *planner) name() string {
	if p := g.known(); p != nil && !g.seldom(10) {
		return p.Name
	}
	return pick(g, "bthnobody", "bthother")
}

// remember keeps a port that could be, for operations to come.
func (g *planner) remember(p *attachedTo) {
	if len(p.Addresses) == 0 || len(p.Interface) != len("eth0") || !strings.HasPrefix(p.Name, netops.Prefix) || len(p.Alias) > rtnl.MaxWords {
		return
	}
	if g.ports[p.Name] == nil {
		g.names = append(g.names, p.Name)
	}
	g.ports[p.Name] = p
}

// bridge draws how a bridge is to be.
func (g *planner) bridge() netops.Bridge {
	b := netops.Bridge{Name: pick(g, "berth0", "berth0", "berth1"), MTU: pick(g, 0, 0, 1400, 1500)}
	all := prefixes("10.42.0.1/16", "10.42.0.3/16", "10.43.0.1/16", "fd42::1/64")
	for _, p := range all {
		if g.seldom(2) {
			b.Addresses = append(b.Addresses, p)
		}
	}
	if g.seldom(4) {
		b.Masquerade = append(b.Masquerade, pick(g, prefixes("10.42.0.0/16", "10.43.0.5/16", "fd42::/64")...))
	}
	if b.Name == "berth1" {
		b.Uplink = pick(g, "", "eth0", "eth0", "eth9")
	}
	if g.seldom(30) {
		b.Name = pick(g, "", "bthbridge", "a-name-too-long-for-it", "lo", "eth0")
	}
	return b
}

// whole draws times of classes: some that last, none that ends by itself while the test runs.
func (g *planner) whole() map[string]time.Duration {
	all := map[string]time.Duration{}
	for _, class := range classes {
		if !g.seldom(3) {
			all[class] = time.Duration(g.IntN(9)+1) * 100 * time.Hour
		}
	}
	if g.seldom(20) {
		all[pick(g, "other", "stateful")] = pick(g, 0, time.Microsecond)
	}
	return all
}
