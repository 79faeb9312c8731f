package netops

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/netops/l2"
)

// addresses are a port's, without the prefixes' lengths.
func addresses(p Port) (all []netip.Addr) {
	for _, a := range p.Addresses {
		all = append(all, a.Addr())
	}
	return all
}

func expectFound(t *testing.T, k *Kernel, who string, ask []netip.Addr, want map[netip.Addr]net.HardwareAddr) {
	t.Helper()
	var got map[netip.Addr]net.HardwareAddr
	for range 20 { // the machine may be busy
		var err error
		got, err = k.Probe(context.Background(), "berth0", ask)
		must(t, err)
		if len(got) >= len(want) {
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: found %v, want %v", who, got, want)
	}
	for a, mac := range want {
		if got[a].String() != mac.String() {
			t.Errorf("%s: %v has MAC %v, want %v", who, a, got[a], mac)
		}
	}
}

func TestAProbeFindsWhoHasAnAddress(t *testing.T) {
	k, _ := twoHosts(t)
	var ports [2]Port
	for i := range ports {
		ports[i], _ = newFlatPort(t, i)
		_, err := k[i].Attach(ports[i])
		must(t, err)
		must(t, k[i].Join(member(ports[i], "stateless")))
	}
	for i, who := range []string{"a container of this host", "a container of another host"} {
		ask, want := addresses(ports[i]), map[netip.Addr]net.HardwareAddr{}
		for _, a := range ask {
			want[a] = ports[i].mac()
		}
		nobody := append(ask, ask[0].Next().Next().Next(), ask[1].Next().Next().Next())
		expectFound(t, k[0], who, nobody, want)
		must(t, k[i].Leave(ports[i].Name))
		expectFound(t, k[0], who+", which is cut", ask, nil)
	}
	expectFound(t, k[0], "no question", nil, nil)
}

func TestAProbeThatAllAnswerEndsAtOnce(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	for range 20 { // the machine may be busy
		start := time.Now()
		_, err := k.Probe(context.Background(), "berth0", addresses(p))
		must(t, err)
		if time.Since(start) < l2.AskEvery {
			return
		}
	}
	t.Errorf("never within %v", l2.AskEvery)
}

func TestAProbeAsksAgain(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	for range 20 { // the machine may be busy
		must(t, k.Leave(p.Name))
		joined := make(chan error, 1)
		time.AfterFunc(l2.AskEvery/2, func() { joined <- k.Join(member(p, "stateless")) })
		found, err := k.Probe(context.Background(), "berth0", addresses(p))
		must(t, err)
		must(t, <-joined)
		if len(found) == len(p.Addresses) {
			return
		}
	}
	t.Error("one that did not hear the first question is never found")
}

func TestAProbeEndsWithItsContext(t *testing.T) {
	k, _ := newBridge(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := k.Probe(ctx, "berth0", []netip.Addr{netip.MustParseAddr("10.42.9.9")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := k.Probe(context.Background(), "none", nil); !mentions(err, "none") {
		t.Errorf("error %v: want one that names the link", err)
	}
}

func TestWhoWasNotAskedForIsNotFound(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	k.announcer.Apart = l2.AskEvery // both announcements fall into the probe
	k.Announce(p)
	expectFound(t, k, "nobody", []netip.Addr{netip.MustParseAddr("10.42.9.9")}, nil)
}
