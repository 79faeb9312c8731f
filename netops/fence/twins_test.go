package fence

import (
	"testing"

	"github.com/google/nftables"
)

func TestARoutedPortPassesOnlyInAClass(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	for _, a := range p.Addresses {
		if hears(t, host, inside, a.Addr(), silence) {
			t.Errorf("%v hears its host without a class", a)
		}
	}
	must(t, k.Join(Member{Port: p.Name, Class: "stateless", Routed: true}))
	for _, a := range p.Addresses {
		if !hears(t, host, inside, a.Addr(), patience) {
			t.Errorf("%v does not hear its host in a class", a)
		}
	}
	must(t, k.Leave(p.Name))
	for _, a := range p.Addresses {
		if hears(t, host, inside, a.Addr(), silence) {
			t.Errorf("%v hears its host after it has left its class", a)
		}
	}
}

func TestStrictModeClosesARoutedPort(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(Member{Port: p.Name, Class: "stateful", Routed: true}))
	must(t, k.SetFence(true, nil))
	to := p.Addresses[0].Addr()
	if hears(t, host, inside, to, silence) {
		t.Error("it passes before the first proof")
	}
	prove(t, k, long())
	if !hears(t, host, inside, to, patience) {
		t.Error("it does not pass after a proof")
	}
	must(t, k.CloseAll())
	if hears(t, host, inside, to, silence) {
		t.Error("it passes though all slots are closed")
	}
}

func TestATableOfAReleaseWithoutRoutedPortsGetsItsTwin(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	k.Close()
	host.Do(func() error {
		c := &nftables.Conn{}
		c.DelTable(routedTable)
		return c.Flush()
	})
	k = openIn(t, host)
	expectClasses(t, k, map[string]string{p.Name: "stateless"})
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("the member is cut")
	}
	routed, inRouted := newRoutedPort(t, host, 2)
	must(t, k.Join(Member{Port: routed.Name, Class: "stateless", Routed: true}))
	if !hears(t, host, inRouted, routed.Addresses[0].Addr(), patience) {
		t.Error("a routed port does not pass in a class")
	}
}

func TestARoutedPortIsInItsClassForTheNextProcess(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(Member{Port: p.Name, Class: "stateful", Routed: true}))
	k.Close()
	k = openIn(t, host)
	expectClasses(t, k, map[string]string{p.Name: "stateful"})
	must(t, k.EnsureTable())
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("it is cut")
	}
	must(t, k.Leave(p.Name))
	if hears(t, host, inside, p.Addresses[0].Addr(), silence) {
		t.Error("it passes after it has left")
	}
}

func TestAFlushedTwinComesBack(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(Member{Port: p.Name, Class: "stateless", Routed: true}))
	cut, inCut := newRoutedPort(t, host, 2)
	host.Do(func() error {
		c := &nftables.Conn{}
		c.DelTable(routedTable)
		return c.Flush()
	})
	must(t, k.EnsureTable())
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("the member is cut")
	}
	if hears(t, host, inCut, cut.Addresses[0].Addr(), silence) {
		t.Error("the other port is not cut")
	}
}
