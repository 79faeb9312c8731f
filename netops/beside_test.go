package netops

import (
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

// What the host has on a bridge is remembered by a comparison while an ADD puts the bridge up again. The race detector judges.
func TestABridgeIsEnsuredBesideAComparisonOfIt(t *testing.T) {
	k, host := newHost(t)
	b := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	stop := make(chan struct{})
	var comparing sync.WaitGroup
	comparing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := k.HostFaults(b, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		host.Do(func() error { return netlink.LinkSetDown(named(t, "berth0")) })
		k.bridges.invalidate("berth0")
		if _, err := k.EnsureBridge(b); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	comparing.Wait()
	if wrong := kinds(t, k, b); len(wrong) > 0 {
		t.Errorf("found %q where nothing is wrong", wrong)
	}
}
