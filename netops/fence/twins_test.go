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
	must(t, k.Join(p.Name, "stateless"))
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
	must(t, k.Join(p.Name, "stateful"))
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

// Before the second table there were members in the first alone.
func TestATableOfAnEarlierReleaseGetsItsTwin(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(p.Name, "stateless"))
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
}

func TestAFlushedTwinComesBack(t *testing.T) {
	k, host := newHost(t)
	p, inside := newRoutedPort(t, host, 1)
	must(t, k.Join(p.Name, "stateless"))
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
