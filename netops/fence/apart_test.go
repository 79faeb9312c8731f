package fence

import (
	"fmt"
	"net/netip"
	"testing"
)

// isolatedIn is the port as an isolated member of a class.
func (p port) isolatedIn(class string) Member {
	m := p.in(class)
	m.Isolated = true
	return m
}

func ranges(fromTo ...string) (all []Range) {
	for i := 0; i < len(fromTo); i += 2 {
		all = append(all, Range{netip.MustParseAddr(fromTo[i]), netip.MustParseAddr(fromTo[i+1])})
	}
	return all
}

// A path is a way that packets take, to an address of each family, and whether any may arrive.
type path struct {
	what     string
	from, to space
	at       [2]netip.Addr
	may      bool
}

func addresses(a ...string) (all [2]netip.Addr) {
	for i := range all {
		all[i] = netip.MustParseAddr(a[i])
	}
	return all
}

func (p port) both() [2]netip.Addr {
	return [2]netip.Addr{p.Addresses[0].Addr(), p.Addresses[1].Addr()}
}

func expectPaths(t *testing.T, when string, all []path) {
	t.Helper()
	for _, w := range all {
		for _, at := range w.at {
			within := silence
			if w.may {
				within = patience
			}
			if hears(t, w.from, w.to, at, within) != w.may {
				t.Errorf("%s: %s, %v: want that something arrives: %t", when, w.what, at, w.may)
			}
		}
	}
}

// newNeighbour is another machine on the bridge's network, as behind an uplink.
func newNeighbour(t *testing.T, host space, addresses ...string) space {
	t.Helper()
	beyond := newSpace(t)
	cable(t, host, "uplink", beyond, "eth0")
	host.Enslave("uplink", "berth0")
	beyond.Give("eth0", addresses...)
	return beyond
}

func TestIsolatedPortsReachTheHostAndOthersButNotEachOther(t *testing.T) {
	k, host := newBridge(t)
	passBridged(t, host, false)
	var ports [3]port
	var inside [3]space
	for i := range ports {
		ports[i], inside[i] = newContainer(t, k, host, i+1)
	}
	beyond := newNeighbour(t, host, "10.42.9.9/16", "10.42.8.8/16", "fd42::9:9/64", "fd42::8:8/64")
	for i := range 2 {
		must(t, k.Join(ports[i].isolatedIn("stateless")))
	}
	must(t, k.Separate(ranges("fd42::9:0", "fd42::9:ffff", "10.42.9.0", "10.42.9.255", "10.42.0.2", "10.42.0.3", "fd42::2", "fd42::3")))
	all := []path{
		{"from one to the other", inside[0], inside[1], ports[1].both(), false},
		{"back", inside[1], inside[0], ports[0].both(), false},
		{"to one that is not", inside[0], inside[2], ports[2].both(), true},
		{"from one that is not", inside[2], inside[0], ports[0].both(), true},
		{"to the host", inside[0], host, addresses("10.42.0.1", "fd42::1"), true},
		{"from the host", host, inside[0], ports[0].both(), true},
		{"to another node's", inside[0], beyond, addresses("10.42.9.9", "fd42::9:9"), false},
		{"to another node", inside[0], beyond, addresses("10.42.8.8", "fd42::8:8"), true},
		{"from who is not to another node's", inside[2], beyond, addresses("10.42.9.9", "fd42::9:9"), true},
	}
	expectPaths(t, "at first", all)
	flush(host)
	must(t, k.EnsureTable())
	expectPaths(t, "put back", all)
	k.Close()
	k = openIn(t, host)
	if k.diverged {
		t.Error("the next process takes what it finds for another's work")
	}
	must(t, k.EnsureTable())
	expectPaths(t, "adopted", all)
	must(t, k.Separate(nil))
	expectPaths(t, "nothing is apart", []path{
		{"to another node's", inside[0], beyond, addresses("10.42.9.9", "fd42::9:9"), true},
		all[0],
	})
	must(t, k.Restrict(ports[1].in("stateless")))
	expectPaths(t, "one is isolated no more", []path{{"to it", inside[0], inside[1], ports[1].both(), true}})
}

func TestARoutedIsolatedPortReachesTheHostAndOthersButNotEachOther(t *testing.T) {
	k, host := newHost(t)
	forwarding(host)
	var ports [3]port
	var inside [3]space
	for i := range ports {
		ports[i], inside[i] = newRoutedPort(t, host, i+1)
		m := ports[i].in("stateless")
		m.Routed, m.Isolated = true, i < 2
		must(t, k.Join(m))
		routeBy(inside[i], fmt.Sprintf("10.43.%d.1", i+1), fmt.Sprintf("fd43:%x::1", i+1))
	}
	must(t, k.Separate(ranges("10.43.0.0", "10.43.2.255", "fd43:1::", "fd43:2::ffff", "10.43.9.0", "10.43.9.255", "fd43:9::", "fd43:9::ff")))
	node, theirs := newSpace(t), newSpace(t)
	for link, s := range map[string]space{"uplink0": node, "uplink1": theirs} {
		cable(t, host, link, s, "eth0")
	}
	host.Give("uplink0", "192.0.2.1/24", "2001:db8::1/64")
	node.Give("eth0", "192.0.2.2/24", "2001:db8::2/64")
	routeBy(node, "192.0.2.1", "2001:db8::1")
	host.Give("uplink1", "10.43.9.1/24", "fd43:9::1/64")
	theirs.Give("eth0", "10.43.9.9/24", "fd43:9::9/64")
	routeBy(theirs, "10.43.9.1", "fd43:9::1")
	all := []path{
		{"from one to the other", inside[0], inside[1], ports[1].both(), false},
		{"to one that is not", inside[0], inside[2], ports[2].both(), true},
		{"from one that is not", inside[2], inside[0], ports[0].both(), true},
		{"to the host", inside[0], host, addresses("192.0.2.1", "2001:db8::1"), true},
		{"from the host", host, inside[0], ports[0].both(), true},
		{"to another node's", inside[0], theirs, addresses("10.43.9.9", "fd43:9::9"), false},
		{"from another node's", theirs, inside[0], ports[0].both(), false},
		{"to another node", inside[0], node, addresses("192.0.2.2", "2001:db8::2"), true},
		{"from another node", node, inside[0], ports[0].both(), true},
		{"from who is not to another node's", inside[2], theirs, addresses("10.43.9.9", "fd43:9::9"), true},
	}
	expectPaths(t, "at first", all)
	flush(host)
	must(t, k.EnsureTable())
	expectPaths(t, "put back", all)
	k.Close()
	k = openIn(t, host)
	if k.diverged {
		t.Error("the next process takes what it finds for another's work")
	}
	must(t, k.EnsureTable())
	expectPaths(t, "adopted", all)
	must(t, k.Separate(nil))
	expectPaths(t, "nothing is apart", []path{{"from one to the other", inside[0], inside[1], ports[1].both(), true}})
}
