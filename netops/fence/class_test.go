package fence

import (
	"fmt"
	"maps"
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
			must(t, k.Join(p.Name, "stateful"))
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
		must(t, k.Join("bth1", class))
		expectClasses(t, k, map[string]string{"bth1": class})
	}
	for range 2 {
		must(t, k.Leave("bth1"))
		expectClasses(t, k, map[string]string{})
	}
	if err := k.Join("bth1", "other"); !mentions(err, "stateless", "stateful") {
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
	must(t, k.Join("bth1", "stateless"))
	must(t, k.Join("bth2", "stateful"))
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
		must(t, k.Join(port, class))
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
	must(t, k.Join(cut.Name, "stateful")) // it notices by itself
	expectClasses(t, k, map[string]string{p.Name: "stateless", cut.Name: "stateful"})
	flush(host)
	must(t, k.Leave(p.Name))
	expectClasses(t, k, map[string]string{cut.Name: "stateful"})
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
