package fence

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
)

func TestAPortInNoClassIsCutInAllDirections(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	other, inOther := newContainer(t, k, host, 2)
	gateway := prefixes("10.42.0.1/16", "fd42::1/64")
	for i, a := range p.Addresses {
		for _, way := range []struct {
			name     string
			from, to space
			at       int
		}{
			{"host to container", host, inside, 0},
			{"container to host", inside, host, 1},
			{"container to container", inOther, inside, 0},
			{"and back", inside, inOther, 2},
		} {
			at := a.Addr()
			switch way.at {
			case 1:
				at = gateway[i].Addr()
			case 2:
				at = other.Addresses[i].Addr()
			}
			// Neighbours know each other before the cut, so that it is no missing answer to ARP that is seen.
			if !hears(t, way.from, way.to, at, patience) {
				t.Errorf("%s, %v: nothing passes before", way.name, at)
			}
			must(t, k.Leave(p.Name))
			if hears(t, way.from, way.to, at, silence) {
				t.Errorf("%s, %v: it passes despite Leave", way.name, at)
			}
			must(t, k.Join(p.in("stateful")))
			if !hears(t, way.from, way.to, at, patience) {
				t.Errorf("%s, %v: nothing passes after Join", way.name, at)
			}
		}
	}
}

func TestOtherLinksOfTheBridgeNeedNoClass(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	outside := newSpace(t)
	cable(t, host, "other", outside, "eth0")
	host.Enslave("other", "berth0")
	outside.Give("eth0", "10.42.9.9/16")
	if !hears(t, outside, inside, p.Addresses[0].Addr(), patience) {
		t.Error("nothing passes from a link that is no port")
	}
}

func TestAPortIsInOneClass(t *testing.T) {
	k, _ := newHost(t)
	for _, class := range []string{"stateless", "stateful", "stateful", "stateless"} {
		must(t, k.Join(anyone("bth1", class)))
		expectClasses(t, k, map[string]string{"bth1": class})
	}
	for range 2 {
		must(t, k.Leave("bth1"))
		expectClasses(t, k, map[string]string{})
	}
	if err := k.Join(anyone("bth1", "other")); !mentions(err, "stateless", "stateful") {
		t.Errorf("error %v: want one that names the classes", err)
	}
}

func expectClasses(t *testing.T, k *Table, want map[string]string) {
	t.Helper()
	got, err := k.Classes()
	must(t, err)
	if !maps.Equal(got, want) {
		t.Errorf("%d classes: want %d; %.300v: want %.300v", len(got), len(want), fmt.Sprint(got), fmt.Sprint(want))
	}
}

func TestClassesOutliveTheProcessThatMadeThem(t *testing.T) {
	k, host := newHost(t)
	must(t, k.Join(anyone("bth1", "stateless")))
	must(t, k.Join(anyone("bth2", "stateful")))
	k.Close()
	k = openIn(t, host)
	expectClasses(t, k, map[string]string{"bth1": "stateless", "bth2": "stateful"})
	must(t, k.Leave("bth1"))
	expectClasses(t, k, map[string]string{"bth2": "stateful"})
}

// flush takes every table away.
func flush(host space) {
	host.Do(func() error {
		c := &nftables.Conn{}
		c.FlushRuleset()
		return c.Flush()
	})
}

func TestThousandsOfMembersComeBack(t *testing.T) {
	k, host := newHost(t)
	want := map[string]string{}
	for i := range 5000 {
		port, class := fmt.Sprint(PortPrefix, i), classes[i%2]
		n := byte(i)
		must(t, k.Join(Member{Port: port, Class: class, MAC: net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), n}, Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), n}), netip.AddrFrom16([16]byte{0xfd, 0x42, 14: byte(i >> 8), 15: n})}}))
		want[port] = class
	}
	flush(host)
	must(t, k.EnsureTable())
	expectClasses(t, k, want)
}

func TestAFlushedTableComesBackWithItsMembers(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	cut, inCut := newPort(t, host, 2)
	flush(host)
	must(t, k.EnsureTable())
	expectClasses(t, k, map[string]string{p.Name: "stateless"})
	if !hears(t, host, inside, p.Addresses[0].Addr(), patience) {
		t.Error("the member is cut")
	}
	if hears(t, host, inCut, cut.Addresses[0].Addr(), silence) {
		t.Error("the other port is not cut")
	}
	flush(host)
	must(t, k.Join(cut.in("stateful"))) // it notices by itself
	expectClasses(t, k, map[string]string{p.Name: "stateless", cut.Name: "stateful"})
	flush(host)
	must(t, k.Leave(p.Name))
	expectClasses(t, k, map[string]string{cut.Name: "stateful"})
}

// former makes the table as a release before this one did, with a port in a class.
func former(t *testing.T, host space, port string) {
	t.Helper()
	host.Do(func() error {
		c := &nftables.Conn{}
		c.AddTable(filterTable)
		for _, class := range classes {
			if err := c.AddSet(classSets[class], nil); err != nil {
				return err
			}
		}
		if err := c.SetAddElements(classSets["stateless"], []nftables.SetElement{{Key: []byte(portKey(port))}}); err != nil {
			return err
		}
		for _, side := range sides {
			addRules(c, c.AddChain(&nftables.Chain{
				Name: side.name, Table: filterTable, Type: nftables.ChainTypeFilter,
				Hooknum: side.hook, Priority: nftables.ChainPriorityRef(-300),
			}), cut(filterTable, side.key))
		}
		return c.Flush()
	})
}

func TestAPortThatAnAgentOfAFormerReleaseLetPassIsSilentAtNoTime(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, host, 1)
	k.Close()
	flush(host)
	former(t, host, p.Name)
	s := newStream(t, inside, host, prefixes("10.42.0.1/16")[0].Addr())
	k = openIn(t, host)
	expectClasses(t, k, map[string]string{p.Name: "stateless"})
	s.Lasts()
	must(t, k.Restrict(p.in("stateless")))
	s.Lasts()
	k.Close()
	k = openIn(t, host)
	must(t, k.EnsureTable())
	s.Lasts()
	if n := s.Lost(); n != 0 {
		t.Errorf("%d datagrams are lost", n)
	}
	inside.Give("eth0", "10.42.0.77/16")
	if hears(t, host, inside, prefixes("10.42.0.77/16")[0].Addr(), silence) {
		t.Error("it answers for an address that is not its own")
	}
}

func TestWhatAPortMaySendChangesWhileItPassesAndOpensNothing(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newPort(t, host, 1)
	at := p.Addresses[0].Addr()
	for _, m := range []Member{p.in("stateless"), anyone(p.Name, "stateless")} {
		must(t, k.Restrict(m))
		expectClasses(t, k, map[string]string{})
		if hears(t, host, inside, at, silence) {
			t.Error("a port in no class passes")
		}
	}
	must(t, k.Join(p.in("stateful")))
	other := p.in("stateless")
	other.Addresses = nil
	for range 2 {
		must(t, k.Restrict(anyone(p.Name, "stateless")))
		if !hears(t, inside, host, prefixes("10.42.0.1/16")[0].Addr(), patience) {
			t.Error("a trusted port does not pass")
		}
		must(t, k.Restrict(other))
		if hears(t, inside, host, prefixes("10.42.0.1/16")[0].Addr(), silence) {
			t.Error("it sends from an address that it is not to send from any more")
		}
	}
	expectClasses(t, k, map[string]string{p.Name: "stateful"})
	must(t, k.Leave(p.Name))
	held, err := k.readElements(memberSets())
	must(t, err)
	if len(held) > 0 {
		t.Errorf("%d elements are left of a port that has left", len(held))
	}
	if err := k.Join(Member{Port: "bth1", Class: "stateless"}); !mentions(err, "MAC") {
		t.Errorf("error %v: want one that asks for a MAC", err)
	}
}

func TestWhatAnotherProgramChangesOfWhatAPortMaySendIsPutBack(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	gateway := prefixes("10.42.0.1/16")[0].Addr()
	for _, change := range []func(c *nftables.Conn) error{
		func(c *nftables.Conn) error { c.FlushSet(sendersV4); return nil },
		func(c *nftables.Conn) error { c.FlushSet(sendersV6); c.FlushSet(senders); return nil },
		func(c *nftables.Conn) error {
			return add(c, []element{{trusted, portKey(p.Name)}, {trusted, portKey("bthother")}})
		},
		func(c *nftables.Conn) error { c.FlushRuleset(); return nil },
	} {
		host.Do(func() error {
			c := &nftables.Conn{}
			if err := change(c); err != nil {
				return err
			}
			return c.Flush()
		})
		must(t, k.EnsureTable())
		held, err := k.readElements(memberSets())
		must(t, err)
		if !maps.Equal(held, elementsOf(k.members)) {
			t.Errorf("the kernel has %d elements: want %d", len(held), len(elementsOf(k.members)))
		}
		if !hears(t, inside, host, gateway, patience) {
			t.Error("the port does not pass")
		}
	}
}

func TestATableThatIsRestoredAgainAndAgainHasNoMoreRules(t *testing.T) {
	k, host := newHost(t)
	rules := func() (n int) {
		host.Do(func() error {
			c := &nftables.Conn{}
			for _, chain := range []string{"from", "to", "stateless", "stateful"} {
				all, err := c.GetRules(filterTable, &nftables.Chain{Name: chain})
				if err != nil {
					return err
				}
				n += len(all)
			}
			return nil
		})
		return n
	}
	for _, on := range []bool{true, false} {
		must(t, k.SetFence(on, nil))
		before := rules()
		for range 3 {
			must(t, k.EnsureTable())
		}
		if after := rules(); before == 0 || after != before {
			t.Errorf("in strict mode (%t) there were %d rules, and there are %d", on, before, after)
		}
	}
}
