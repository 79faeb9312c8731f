package bridges

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/netops"
)

func use(network, pool, bridge string, change ...func(*netops.Bridge)) Use {
	u := Use{Network: network, Pool: pool, Bridge: netops.Bridge{Name: bridge}}
	for _, f := range change {
		f(&u.Bridge)
	}
	return u
}

func up(nic string) func(*netops.Bridge) { return func(b *netops.Bridge) { b.Uplink = nic } }
func mtu(n int) func(*netops.Bridge)     { return func(b *netops.Bridge) { b.MTU = n } }
func masq(b *netops.Bridge)              { b.Masquerade = []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")} }
func gate(a string) func(*netops.Bridge) {
	return func(b *netops.Bridge) { b.Addresses = []netip.Prefix{netip.MustParsePrefix(a)} }
}

func held(uses ...Use) func() []Held {
	var all []Held
	for _, u := range uses {
		all = append(all, Held{u, true})
	}
	return func() []Held { return all }
}

func TestNetworksThatContradictEachOtherAreRefusedByName(t *testing.T) {
	for what, c := range map[string]struct {
		a, b Use
		says []string
	}{
		"another uplink": {use("a", "p", "br", up("eth0")), use("b", "q", "br", up("eth1")),
			[]string{`"a"`, `"b"`, "bridge br", "uplink eth0", "uplink eth1"}},
		"an uplink and none":       {use("a", "p", "br", up("eth0")), use("b", "q", "br"), []string{`"a"`, `"b"`, "uplink eth0", "no uplink"}},
		"one network's new uplink": {use("a", "p", "br"), use("a", "p", "br", up("eth0")), []string{`"a"`, "now", "no uplink", "uplink eth0"}},
		"another MTU": {use("a", "p", "br", mtu(1400)), use("b", "q", "br", mtu(9000)),
			[]string{`"a"`, `"b"`, "MTU", "1400", "9000", `"p"`, `"q"`}},
		"another ipMasq": {use("a", "p", "br", masq), use("b", "p", "br"), []string{`"a"`, `"b"`, "ipMasq true", "false"}},
		"a gateway on two bridges": {use("a", "p", "br", gate("10.42.0.1/16")), use("b", "p", "br1", gate("10.42.0.1/16")),
			[]string{`"a"`, `"b"`, "gateway", "br1"}},
		"one network on two bridges": {use("a", "p", "br", gate("10.42.0.1/16")), use("a", "p", "br1", gate("10.42.0.1/16")),
			[]string{`"a"`, "gateway", "br1"}},
	} {
		var b Book
		if _, err := b.Admit(c.a, held(c.a)); err != nil {
			t.Errorf("%s: the first is refused: %v", what, err)
		}
		_, err := b.Admit(c.b, held(c.a))
		if _, ok := errors.AsType[*Contradiction](err); !ok {
			t.Errorf("%s: error %v, want a contradiction", what, err)
			continue
		}
		for _, word := range c.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %s", what, err, word)
			}
		}
		if got, err := b.Admit(c.b, held()); err != nil || got.Uplink != c.b.Bridge.Uplink {
			t.Errorf("%s: no container of the first is left, and the second is %+v, %v", what, got, err)
		}
		if _, found := new(Book).All(held(c.a, c.b)()); c.a.key() != c.b.key() && len(found) != 1 {
			t.Errorf("%s: found %v where both are there already", what, found)
		}
	}
}

func TestNetworksThatAgreeShareABridgeThatServesAll(t *testing.T) {
	var b Book
	uses := []Use{
		use("a", "p", "br", mtu(1400), masq, gate("10.42.0.1/16")), use("b", "q", "br", gate("10.43.0.1/16")),
		use("c", "p", "br", mtu(1400), masq, gate("10.42.0.1/16")),
		use("a", "p", "other", mtu(9000), up("eth1"), masq),
	}
	var got netops.Bridge
	for i, u := range uses {
		var err error
		if got, err = b.Admit(u, held(uses[:i]...)); err != nil {
			t.Fatalf("%+v: %v", u, err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(netops.Bridge{Name: "other", MTU: 9000, Uplink: "eth1", Masquerade: uses[0].Bridge.Masquerade}) {
		t.Errorf("the bridge is %+v", got)
	}
	all, found := b.All(held(uses...)())
	if len(found) != 0 || len(all) != 2 || len(all[0].Addresses) != 2 || all[0].MTU != 0 {
		t.Errorf("the bridges are %+v, contradictions %v", all, found)
	}
}

func TestTwoPoolsOnOneBridgeDoNotFlipItsMTU(t *testing.T) {
	for _, c := range []struct {
		mtus []int
		want int
	}{{[]int{0, 1400}, 0}, {[]int{0, 9000}, 9000}, {[]int{1400, 1400}, 1400}, {[]int{0, 0}, 0}, {[]int{1400}, 1400}} {
		if got := widest(c.mtus); got != c.want {
			t.Errorf("pools of MTU %v: the bridge's is to be %d, want %d", c.mtus, got, c.want)
		}
	}
}

func TestAContainerOnItsWayCountsOnceItsUseWasAdmitted(t *testing.T) {
	var b Book
	first, second := use("a", "p", "br", up("eth0")), use("b", "p", "br", up("eth1"))
	both := func() []Held { return []Held{{first, false}, {second, false}} }
	if _, err := b.Admit(first, both); err != nil {
		t.Errorf("the first of two that come at once is refused: %v", err)
	}
	if _, err := b.Admit(second, both); err == nil {
		t.Error("both were admitted")
	}
}

func TestABridgeWhoseUplinkIsContradictedIsLeftAsItIs(t *testing.T) {
	var b Book
	all, found := b.All(held(use("a", "p", "br", up("eth0")), use("b", "q", "br", gate("10.43.0.1/16")))())
	if len(found) != 1 || len(all) != 1 || all[0].Uplink != "" || len(all[0].Addresses) != 0 {
		t.Errorf("contradictions %v, and the bridge is to be %+v", found, all)
	}
}

func TestNetworksThatSayDifferentThingsOfDifferentThingsAgree(t *testing.T) {
	for what, c := range map[string][2]Use{
		"two bridges with an MTU each":                  {use("a", "p", "br", mtu(1400)), use("b", "q", "br1", mtu(9000))},
		"two pools with one MTU":                        {use("a", "p", "br", mtu(1400)), use("b", "q", "br", mtu(1400))},
		"two pools behind an uplink, which decides":     {use("a", "p", "br", up("eth0"), mtu(1400)), use("b", "q", "br", up("eth0"), mtu(9000))},
		"one network, whose later containers add":       {use("a", "p", "br", masq), use("a", "p", "br1")},
		"two pools with a gateway each":                 {use("a", "p", "br", gate("10.42.0.1/16")), use("b", "q", "br1", gate("10.43.0.1/16"))},
		"one pool whose gateway is on one of them":      {use("a", "p", "br"), use("b", "p", "br1", gate("10.42.0.1/16"))},
		"one pool whose gateway is on the other bridge": {use("a", "p", "br", gate("10.42.0.1/16")), use("b", "p", "br1")},
	} {
		var b Book
		if _, err := b.Admit(c[0], held()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := b.Admit(c[1], held(c[0])); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestOnlyWhatIsContradictedIsLeftAsItIs(t *testing.T) {
	var b Book
	all, found := b.All(held(
		use("a", "p", "br", mtu(1400), gate("10.42.0.1/16")), use("b", "q", "br", mtu(9000), gate("10.43.0.1/16")),
		use("c", "r", "other", mtu(9000)),
	)())
	if len(found) != 1 || len(all) != 2 {
		t.Fatalf("contradictions %v, bridges %+v", found, all)
	}
	if br := all[0]; br.MTU != 0 || len(br.Addresses) != 2 {
		t.Errorf("the bridge is to be %+v: want both gateways, and its MTU left alone", br)
	}
	if other := all[1]; other.MTU != 9000 {
		t.Errorf("the other bridge is to be %+v", other)
	}
}

func TestAUseThatIsKnownIsAdmittedWithoutALookAtTheContainers(t *testing.T) {
	var b Book
	known := use("a", "p", "br", gate("10.42.0.1/16"))
	if _, err := b.Admit(known, held()); err != nil {
		t.Fatal(err)
	}
	looked := false
	look := func() []Held { looked = true; return held(known)() }
	if got, err := b.Admit(known, look); err != nil || looked || len(got.Addresses) != 1 {
		t.Errorf("it is %+v, %v; the containers were looked at: %t", got, err, looked)
	}
	if _, err := b.Admit(use("a", "p", "br", gate("10.42.0.9/16")), look); err != nil || !looked {
		t.Errorf("of what is new: %v; the containers were looked at: %t", err, looked)
	}
}

// What its earlier containers were made with stays, where a network's words were changed since.
func TestANetworksFormerWordsStayWhileContainersWereMadeByThem(t *testing.T) {
	for name, order := range map[string][]Use{
		"the former first": {use("a", "p", "br", up("eth0"), masq), use("a", "p", "br")},
		"the later first":  {use("a", "p", "br"), use("a", "p", "br", up("eth0"), masq)},
	} {
		all, found := new(Book).All(held(order...)())
		if len(found) != 0 || len(all) != 1 || all[0].Uplink != "eth0" || len(all[0].Masquerade) != 1 {
			t.Errorf("%s: the bridges are to be %+v, contradictions %v", name, all, found)
		}
	}
}
