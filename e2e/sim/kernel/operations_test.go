package kernel

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/netops"
)

// on completes a port for a side.
func (p *attachedTo) on(s side) netops.Port {
	q := p.Port
	q.Netns = s.netns(p.n)
	return q
}

func (p *attachedTo) String() string {
	return fmt.Sprintf("%s, alias of %d bytes, %s in %d on %s, MTU %d, MAC %v, %v, gateways %v (on link: %v), routes %v", p.Name, len(p.Alias),
		p.Interface, p.n, p.Bridge, p.MTU, p.MAC, p.Addresses, p.Gateways, p.OnLink, p.Routes)
}

func answer(err error, parts ...any) string { return fmt.Sprint(verdict(err), fmt.Sprint(parts...)) }

// next draws an operation.
func (g *planner) next() operation {
	for n, alive := range g.alive {
		if !alive && g.seldom(2) {
			g.alive[n] = true
			return operation{what: fmt.Sprint("make namespace ", n), run: func(s side) string { return answer(s.make(n)) }}
		}
	}
	switch n := g.IntN(100); {
	case n < 40:
		return g.aboutPorts()
	case n < 62:
		return g.aboutTheFence()
	case n < 76:
		return g.aboutBridges()
	case n < 86:
		return g.outside()
	case n < 94:
		return g.inside()
	}
	return g.others()
}

func (g *planner) aboutPorts() operation {
	p, former := g.port(), g.known()
	if former != nil && g.seldom(4) {
		p = former
	}
	switch n := g.IntN(20); {
	case former == nil || n < 8:
		if g.alive[p.n] {
			g.remember(p)
		}
		return operation{what: fmt.Sprint("attach ", p), run: func(s side) string {
			made, err := s.kernel().Attach(p.on(s))
			if err == nil {
				made.HostMAC, made.Index = "", 0 // the kernel's choice
			}
			return answer(err, made)
		}}
	case n < 12:
		name := g.name()
		return operation{what: "detach " + name, run: func(s side) string { return answer(s.kernel().Detach(name)) }}
	case n < 18:
		to := *former
		to.MTU = pick(g, to.MTU, to.MTU, 1400, 1450)
		if g.reroute(&to.Port); g.seldom(20) {
			g.spoil(&to.Port)
		}
		to.Name, to.Alias, to.Bridge, to.Interface, to.MAC, to.Addresses = former.Name, former.Alias, former.Bridge, former.Interface,
			former.MAC, former.Addresses
		g.remember(&to)
		return operation{what: fmt.Sprint("update ", &to, " from ", former), run: func(s side) string {
			return answer(s.kernel().Update(to.on(s), former.on(s)))
		}}
	case n < 19:
		other := *p
		p = &other
		p.Addresses = prefixes("10.42.88.88/16") // a probe beside an announcement hears it
		return operation{what: "announce " + p.Name, run: func(s side) string {
			if s.netns(p.n) != nil {
				s.kernel().Announce(p.on(s))
			}
			return ""
		}}
	}
	return operation{what: "check " + p.Name, run: func(s side) string { return answer(s.kernel().Check(p.on(s))) }}
}

func (g *planner) aboutTheFence() operation {
	name, class, whole, on := g.name(), pick(g, "stateless", "stateless", "stateful", "stateful", "other"), g.whole(), g.seldom(2)
	if class == "other" && !g.seldom(5) {
		class = "stateful"
	}
	switch n := g.IntN(32); {
	case n == 31:
		from := g.apart()
		return operation{what: fmt.Sprint("separate ", from), run: func(s side) string { return answer(s.kernel().Separate(from)) }}
	case n < 9:
		m := g.member(name, class)
		if g.seldom(4) {
			return operation{what: fmt.Sprintf("restrict %+v", m), run: func(s side) string { return answer(s.kernel().Restrict(m)) }}
		}
		return operation{what: fmt.Sprintf("join %+v", m), run: func(s side) string { return answer(s.kernel().Join(m)) }}
	case n < 14:
		return operation{what: "leave " + name, run: func(s side) string { return answer(s.kernel().Leave(name)) }}
	case n < 18:
		return operation{what: fmt.Sprint("arm ", whole), run: func(s side) string { return answer(s.kernel().Arm(whole)) }}
	case n < 22:
		return operation{what: "open", run: func(s side) string { return answer(s.kernel().Open()) }}
	case n < 24:
		return operation{what: "close all", run: func(s side) string { return answer(s.kernel().CloseAll()) }}
	case n < 27:
		return operation{what: fmt.Sprint("set fence ", on, whole), run: func(s side) string { return answer(s.kernel().SetFence(on, whole)) }}
	case n < 29:
		return operation{what: "ensure table", run: func(s side) string { return answer(s.kernel().EnsureTable()) }}
	case n < 30 && g.seldom(5):
		const short = 20 * time.Millisecond
		opens := g.seldom(2)
		return operation{what: fmt.Sprint("a right that runs out, opened: ", opens), wait: 2 * short, run: func(s side) string {
			err := s.kernel().Arm(map[string]time.Duration{"stateless": short})
			if !opens {
				return answer(err)
			}
			return answer(err) + answer(s.kernel().Open())
		}}
	case n < 30:
		return operation{what: "flush the table", run: func(s side) string { return answer(s.flushTable()) }}
	}
	return operation{what: "try the fence", run: func(s side) string { return answer(s.kernel().TryFence()) }}
}

func (g *planner) aboutBridges() operation {
	b := g.bridge()
	var ports []string
	for _, name := range g.names {
		if p := g.ports[name]; p.Bridge == b.Name && !g.seldom(5) {
			ports = append(ports, name)
		}
	}
	switch n := g.IntN(14); {
	case n < 6:
		return operation{what: fmt.Sprintf("ensure bridge %+v", b), run: func(s side) string {
			first := s.kernel().EnsureTable() // it forgets what it knew: news of changes by others may be on their way
			state, err := s.kernel().EnsureBridge(b)
			return answer(first) + answer(err, state.MAC == "", state.Index == 0)
		}}
	case n < 10:
		return operation{what: fmt.Sprintf("faults of %+v with %v", b, ports), run: func(s side) string {
			found, err := s.kernel().HostFaults(b, ports)
			return strings.ReplaceAll(answer(err, found), `kind "veth"`, `kind ""`) // a cable's end stands for a NIC
		}}
	case n < 12:
		return operation{what: fmt.Sprintf("repair %v of %v", ports, b.Name), run: func(s side) string {
			return answer(s.kernel().RepairPorts(b, ports))
		}}
	case n < 13 && g.seldom(2):
		return operation{what: fmt.Sprintf("retire all but %+v", b), run: func(s side) string {
			return answer(s.kernel().Retire([]netops.Bridge{b}))
		}}
	case n < 13:
		return operation{what: "uplink of " + b.Name, run: func(s side) string {
			name, err := s.kernel().Uplink(b.Name)
			return answer(err, name)
		}}
	}
	keep := func(p netip.Prefix) bool { return slices.Contains(b.Addresses, p) }
	former := netops.Placed{Bridge: b.Name, Prefix: netip.MustParsePrefix("198.51.100.1/24")}
	return operation{what: fmt.Sprint("withdraw all but ", b.Addresses), run: func(s side) string {
		return answer(s.kernel().Withdraw(keep, former))
	}}
}

func (g *planner) others() operation {
	n := g.IntN(namespaces)
	what := g.IntN(30)
	switch {
	case what < 8 && g.alive[n]:
		g.alive[n] = false
		return operation{what: fmt.Sprint("end namespace ", n), later: true, run: func(s side) string { return answer(s.end(n)) }}
	case what < 14 && g.alive[n]:
		return operation{what: fmt.Sprint("watch namespace ", n), run: func(s side) string {
			id, err := s.kernel().WatchNamespace(s.netns(n))
			return answer(err, netops.LastingID(id))
		}}
	case what < 20 && g.alive[n]:
		other := g.IntN(namespaces)
		return operation{what: fmt.Sprintf("find namespace %d at the path of %d", n, other), run: func(s side) string {
			path := "/absent"
			if f := s.netns(other); f != nil {
				path = f.Name()
			}
			inode, err := s.kernel().NamespaceInode(s.netns(n))
			f, lost := s.kernel().FindNamespace(path, inode)
			if lost == nil {
				f.Close()
			}
			return answer(err, lost == nil)
		}}
	case what < 22:
		return operation{what: "another process", run: func(s side) string { return answer(s.reopen()) }}
	case what < 25:
		return operation{what: "diagnose", run: func(s side) string { return fmt.Sprint(s.kernel().Diagnose()) }}
	case what == 25:
		return operation{what: "a link that is not there", run: func(s side) string {
			_, err := s.kernel().LinkName(1 << 20)
			return answer(err)
		}}
	}
	return g.probe()
}

// probe asks for the addresses of all ports, and for one that nobody has.
func (g *planner) probe() operation {
	ask := []netip.Addr{}
	if g.seldom(10) {
		ask = append(ask, netip.MustParseAddr("10.42.9.9"))
	}
	for _, name := range slices.Sorted(maps.Keys(g.ports)) {
		if g.seldom(3) {
			ask = append(ask, g.ports[name].Addresses[0].Addr())
		}
	}
	on := pick(g, "berth0", "berth0", "berth1", "none")
	return operation{what: fmt.Sprint("probe on ", on, ask), run: func(s side) string {
		found, err := s.kernel().Probe(context.Background(), on, ask)
		return answer(err, slices.SortedFunc(maps.Keys(found), netip.Addr.Compare)) // by which of its interfaces one answers is chance
	}}
}
