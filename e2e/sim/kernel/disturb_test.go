package kernel

import (
	"fmt"
	"net/netip"
)

// outside draws what another program does on the host.
func (g *planner) outside() operation {
	name, of, on := pick(g, "berth0", "berth1", "eth0"), pick(g, "", "berth0", "berth1"), g.seldom(2)
	port := g.name()
	p := pick(g, prefixes("192.0.2.10/24", "192.0.2.11/32", "198.51.100.1/24", "10.42.0.1/16", "fd42::9/64")...)
	switch g.IntN(12) {
	case 0:
		name = pick(g, "berth0", "berth1", port)
		return operation{what: "delete link " + name, run: func(s side) string { return answer(s.deleteLink(name)) }}
	case 1, 2:
		name = pick(g, "eth0", port, port)
		return operation{what: "put " + name + " on " + of, run: func(s side) string { return answer(s.setMaster(name, of)) }}
	case 3:
		name = pick(g, name, port)
		return operation{what: fmt.Sprint("bring ", name, " up: ", on), run: func(s side) string { return answer(s.setUp(name, on)) }}
	case 4:
		mtu := pick(g, 1300, 1500, 1600)
		return operation{what: fmt.Sprint("set MTU of ", port, mtu), run: func(s side) string { return answer(s.setMTU(port, mtu)) }}
	case 5, 6, 7:
		return operation{what: fmt.Sprint("give ", name, " ", p, ": ", on), run: func(s side) string {
			err := s.setAddress(name, p, on)
			return fmt.Sprint(err == nil || !on)
		}}
	case 8:
		return operation{what: "flush masquerading", run: func(s side) string { return answer(s.flushMasquerade()) }}
	case 9:
		return operation{what: "forward nothing", run: func(s side) string { return answer(s.stopForwarding()) }}
	}
	return operation{what: "ensure table", run: func(s side) string { return answer(s.kernel().EnsureTable()) }}
}

// inside draws what a container, or a later plugin, does.
func (g *planner) inside() operation {
	p := g.known()
	if p == nil || !g.alive[p.n] {
		return g.others()
	}
	n, name, on := p.n, p.Interface, g.seldom(2)
	mac := []byte{2, 0, 0, 0, 0, byte(g.IntN(3))}
	switch g.IntN(12) {
	case 0:
		return operation{what: fmt.Sprint("add ", name, " in ", n), run: func(s side) string {
			if err := s.addInside(n, name); err != nil {
				return answer(err)
			}
			return answer(s.setMACInside(n, name, mac))
		}}
	case 1:
		return operation{what: fmt.Sprint("remove ", name, " in ", n), run: func(s side) string { return answer(s.removeInside(n, name)) }}
	case 2, 3:
		from, to := pick(g, name, "net1"), pick(g, name, "net1")
		if from == to {
			from = "net1"
			to = name
		}
		return operation{what: fmt.Sprint("rename ", from, " to ", to, " in ", n), run: func(s side) string {
			return answer(s.renameInside(n, from, to))
		}}
	case 4:
		return operation{what: fmt.Sprint("bring ", name, " up in ", n, ": ", on), run: func(s side) string {
			return answer(s.setUpInside(n, name, on))
		}}
	case 5, 6:
		mtu := pick(g, 1300, 1450, 1500, 1600)
		return operation{what: fmt.Sprint("set MTU of ", name, " in ", n, ": ", mtu), run: func(s side) string {
			return answer(s.setMTUInside(n, name, mtu))
		}}
	case 7:
		return operation{what: fmt.Sprint("set MAC of ", name, " in ", n, ": ", mac), run: func(s side) string {
			return answer(s.setMACInside(n, name, mac))
		}}
	case 8, 9:
		a := pick(g, append(prefixes("10.42.77.1/16"), p.Addresses...)...)
		return operation{what: fmt.Sprint("give ", name, " ", a, " in ", n, ": ", on), run: func(s side) string {
			return answer(s.setAddressInside(n, name, a, on))
		}}
	}
	to := netip.MustParsePrefix("0.0.0.0/0")
	if len(p.Routes) > 0 && on {
		to = p.Routes[0].To
	}
	return operation{what: fmt.Sprint("remove routes to ", to, " over ", name, " in ", n), run: func(s side) string {
		return answer(s.removeRoute(n, name, to))
	}}
}
