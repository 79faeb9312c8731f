package routes

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops"
)

func TestRoutesFollowTheRecords(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		sets := b.kernel.sets
		b.tell(some(block("r", "10.50.0.0/26", "10.50.0.0/28", "n2", "10.50.0.16/28", "n3", "10.50.0.32/27", "n1")))
		b.tell(some(held("r", "10.50.9.1", "n3")))
		b.tell(some(block("r", "fd50::/122", "fd50::/122", "n3")))
		b.expect("moved", "10.50.0.0/28 via 192.0.2.2", "10.50.0.16/28 via 192.0.2.3", "10.50.9.1/32 via 192.0.2.3", "fd50::/122 via 2001:db8::3")
		b.tell(some(held("r", "10.50.9.1", "n1")))
		b.tell(gone(block("r", "10.50.0.0/26")))
		b.expect("come here, and given back", "fd50::/122 via 2001:db8::3")
		if b.kernel.sets != sets || b.kernel.changes > 9 {
			t.Errorf("all routes were set %d times more, and %d hops: want only what has changed", b.kernel.sets-sets, b.kernel.changes)
		}
		b.tell(some(nodeAt("n3", "192.0.2.3", "2001:db8::33")))
		b.expect("another address", "fd50::/122 via 2001:db8::33")
		b.tell(configOf(6, pool("f", allocator.Flat, "10.60.0.0/16")))
		b.expect("no routed pool")
	})
}

func TestWhatCannotBeReadStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		former := []string{"10.50.0.0/27 via 192.0.2.2", "10.50.9.1/32 via 192.0.2.2"}
		damaged := func(kind kv.Kind, address string) []*kv.DamagedError {
			return []*kv.DamagedError{{At: kv.Key{Kind: kind, Pool: "r", Address: netip.MustParseAddr(address)}}}
		}
		for _, full := range []bool{false, true} {
			b.tell(kv.Update[record.Block]{Full: full, Bad: damaged(kv.KindBlock, "10.50.0.0")})
			b.tell(kv.Update[record.Reservation]{Full: full, Bad: damaged(kv.KindReservation, "10.50.9.1")})
			b.tell(kv.Update[record.Node]{Full: full, Bad: []*kv.DamagedError{{At: kv.Key{Kind: kv.KindNode, Node: "n2"}}}})
			b.expect("unreadable", former...)
		}
		b.tell(gone(nodeAt("n2"))) // etcd has lost it: a removed node leaves a tombstone
		b.expect("a lost node", former...)
		now := time.Now()
		b.tell(some(record.Node{Name: "n2", Removed: &now, Hops: nodeAt("n2", "192.0.2.2").Hops}))
		b.expect("a tombstone")
	})
}

func TestRoutesStayWhileNothingIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		former := []string{"10.50.0.0/27 via 192.0.2.2", "10.50.9.1/32 via 192.0.2.2"}
		configured := b.config
		b.tell(nil) // the store is another
		b.tell(&config.Config{})
		b.tell(all[record.Block]())
		b.Changed()
		time.Sleep(2 * lookEvery)
		b.expect("no configuration", former...)
		b.tell(configured)
		b.expect("only the blocks are known", former...)
		b.tell(all[record.Reservation]())
		b.tell(threeNodes)
		b.expect("all is known")
	})
}

func TestAllRoutesAreComparedAtEventsOfTheKernelAndOnceAMinute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		flush := func() int {
			b.kernel.mu.Lock()
			defer b.kernel.mu.Unlock()
			b.kernel.now.Hops = map[netip.Prefix]netops.Hop{}
			return b.kernel.sets
		}
		flush()
		time.Sleep(lookEvery)
		b.expect("after a minute", "10.50.0.0/27 via 192.0.2.2", "10.50.9.1/32 via 192.0.2.2")
		before := flush()
		for range 2000 { // as where another program undoes each repair
			b.Changed()
			time.Sleep(time.Millisecond)
		}
		b.expect("after events", "10.50.0.0/27 via 192.0.2.2", "10.50.9.1/32 via 192.0.2.2")
		if n := b.kernel.sets - before; n > 3 {
			t.Errorf("%d comparisons within two seconds", n)
		}
	})
}

func TestAFailureIsToldAndTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t)
		b.kernel.failures = 3
		b.tell(configOf(5, pool("r", allocator.Routed, "10.50.0.0/16")))
		b.tell(threeNodes)
		b.tell(all(block("r", "10.50.0.0/26", "10.50.0.0/26", "n2")))
		b.tell(all[record.Reservation]())
		time.Sleep(100 * time.Millisecond)
		b.expectFindings("it fails", "routes-not-set routes")
		time.Sleep(4 * lookPause)
		b.expectFindings("it works")
		b.expect("it works", "10.50.0.0/26 via 192.0.2.2")
	})
}

func TestNodesThatCannotBeReachedAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		b.kernel.mu.Lock()
		b.kernel.refuses[netip.MustParseAddr("192.0.2.3")] = true
		b.kernel.mu.Unlock()
		b.tell(some(nodeAt("n4", "192.0.2.4")))
		b.tell(some(held("r", "10.50.9.1", "n3"), held("r", "fd50::1", "n4"), held("r", "10.50.9.7", "n5")))
		time.Sleep(10 * time.Millisecond)
		b.expectFindings("told", "node-address-missing n4", "node-address-missing n5", "route-refused n3")
		for _, f := range b.Findings.List() {
			if !strings.Contains(f.Advice, "--node-address") || !strings.Contains(f.Text, "node "+f.Subject) {
				t.Errorf("finding %+v: want it to name the node, and --node-address", f)
			}
		}
		b.tell(some(nodeAt("n3", "192.0.2.33"), nodeAt("n4", "192.0.2.4", "2001:db8::4"), nodeAt("n5", "192.0.2.5")))
		time.Sleep(10 * time.Millisecond)
		b.expectFindings("repaired")
	})
}

func TestTheWayToANodeFollowsTheModeOfThePool(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		for i, c := range []struct {
			mode allocator.Mode
			want string
		}{{allocator.VXLAN, " tunnel"}, {allocator.Auto, " nearest"}, {allocator.Routed, ""}, {allocator.Auto, " nearest"}} {
			b.tell(configOf(int64(6+i), pool("r", c.mode, "10.50.0.0/16", "fd50::/64"), pool("f", allocator.Flat, "10.60.0.0/16")))
			b.expect(c.mode.String(), "10.50.0.0/27 via 192.0.2.2"+c.want, "10.50.9.1/32 via 192.0.2.2"+c.want)
			if way := b.kernel.now.Ways[netip.MustParsePrefix("10.50.0.0/16")]; way != ways[c.mode] || len(b.kernel.now.Ways) != 2 {
				t.Errorf("%v: the ways of the pools are %v", c.mode, b.kernel.now.Ways)
			}
		}
		if now := b.kernel.now; len(now.Nodes) != 2 || !slices.Equal(now.Locals, nodeAt("n1", "192.0.2.1").Hops) {
			t.Errorf("the nodes are %v, and this one %v", now.Nodes, now.Locals)
		}
		b.tell(some(block("r", "fd50::/122", "fd50::/122", "n3"))) // n1 has no IPv6 address of its own
		b.expect("over the other family", "10.50.0.0/27 via 192.0.2.2 nearest", "10.50.9.1/32 via 192.0.2.2 nearest",
			"fd50::/122 via 192.0.2.3 tunnel")
		b.tell(some(nodeAt("n1", "192.0.2.1", "2001:db8::1")))
		b.expect("an address of its own", "10.50.0.0/27 via 192.0.2.2 nearest", "10.50.9.1/32 via 192.0.2.2 nearest",
			"fd50::/122 via 2001:db8::3 nearest")
	})
}

func TestANodeWithoutAnAddressOfItsOwnNamesItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t)
		b.tell(configOf(5, pool("v", allocator.VXLAN, "10.50.0.0/16"), pool("r", allocator.Routed, "10.60.0.0/16")))
		b.tell(all(nodeAt("n2", "192.0.2.2"), nodeAt("n3")))
		b.tell(all(block("v", "10.50.0.0/26", "10.50.0.0/26", "n2"), block("r", "10.60.0.0/26", "10.60.0.0/26", "n2")))
		b.tell(all[record.Reservation]())
		b.expect("its own record is not read yet", "10.60.0.0/26 via 192.0.2.2")
		b.expectFindings("its own record is not read yet")
		b.tell(some(nodeAt("n1")))
		b.expect("it has none", "10.60.0.0/26 via 192.0.2.2")
		b.expectFindings("it has none", "node-address-missing n1")
		b.tell(some(block("v", "10.50.0.64/26", "10.50.0.64/26", "n3")))
		time.Sleep(10 * time.Millisecond)
		b.expectFindings("another one has none either", "node-address-missing n1", "node-address-missing n3")
		b.tell(some(nodeAt("n1", "192.0.2.1")))
		b.expect("it has one", "10.50.0.0/26 via 192.0.2.2 tunnel", "10.60.0.0/26 via 192.0.2.2")
		b.expectFindings("it has one", "node-address-missing n3")
	})
}

func TestWhoeverDependsOnThisNodesAddressesHearsOfEachSettingOfAllRoutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := settled(t)
		for what, change := range map[string]func(){
			"another address": func() { b.tell(some(nodeAt("n1", "192.0.2.11"))) },
			"a comparison":    func() { b.Changed(); time.Sleep(2 * lookPause) },
		} {
			before, sets := b.routed.Load(), b.kernel.sets
			change()
			time.Sleep(10 * time.Millisecond)
			b.kernel.mu.Lock()
			if heard, times := b.routed.Load()-before, b.kernel.sets-sets; heard == 0 || heard != int64(times) {
				t.Errorf("%s: the routes were set %d times, and that was heard %d times", what, times, heard)
			}
			b.kernel.mu.Unlock()
		}
	})
}

func TestAnotherVXLANIsFollowed(t *testing.T) {
	if record.DefaultVXLAN != record.VXLAN(netops.DefaultTunnel) {
		t.Errorf("the settings' default is %v, the kernel's %v", record.DefaultVXLAN, netops.DefaultTunnel)
	}
	bubble(t, func(t *testing.T) {
		b := settled(t)
		c := configOf(6, pool("r", allocator.VXLAN, "10.50.0.0/16"))
		b.tell(c)
		b.expect("by default", "10.50.0.0/27 via 192.0.2.2 tunnel", "10.50.9.1/32 via 192.0.2.2 tunnel")
		if b.kernel.now.Tunnel != netops.DefaultTunnel {
			t.Errorf("the tunnel is %v", b.kernel.now.Tunnel)
		}
		next := *c
		next.Revision, next.Settings.VXLAN = 7, record.VXLAN{ID: 98, Port: 8472}
		b.tell(&next)
		b.expect("another port", "10.50.0.0/27 via 192.0.2.2 tunnel", "10.50.9.1/32 via 192.0.2.2 tunnel")
		if b.kernel.now.Tunnel.Port != 8472 {
			t.Errorf("the tunnel is %v", b.kernel.now.Tunnel)
		}
	})
}

func TestEnsureWaitsForTheRecordsAndSetsAPoolAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t)
		b.tell(configOf(5, pool("r", allocator.Routed, "10.50.0.0/16"), pool("f", allocator.Flat, "10.60.0.0/16")))
		if err := b.Ensure(t.Context(), "f"); err != nil {
			t.Error("a flat pool:", err)
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Ensure(soon, "r"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("nothing is known:", err)
		}
		done := make(chan error)
		go func() { done <- b.Ensure(t.Context(), "r") }()
		b.tell(threeNodes)
		b.tell(all[record.Block]())
		b.tell(all[record.Reservation]())
		if err := <-done; err != nil || len(b.kernel.now.Pools) != 1 {
			t.Errorf("error %v, pools %v", err, b.kernel.now.Pools)
		}
		before := b.kernel.sets
		if err := b.Ensure(t.Context(), "r"); err != nil || b.kernel.sets != before {
			t.Errorf("error %v, %d calls: want none where all is there", err, b.kernel.sets-before)
		}
		masqueraded := pool("r", allocator.Routed, "10.50.0.0/16")
		masqueraded.IPMasq = true
		b.mu.Lock() // before the hook
		b.config = configOf(6, masqueraded)
		b.mu.Unlock()
		if err := b.Ensure(t.Context(), "r"); err != nil || len(b.kernel.now.Masquerade) != 1 {
			t.Errorf("error %v, masqueraded %v: want it by the newest configuration", err, b.kernel.now.Masquerade)
		}
		b.kernel.failures = 1
		b.mu.Lock()
		b.config = configOf(7, pool("r", allocator.Routed, "10.50.0.0/16"))
		b.mu.Unlock()
		if err := b.Ensure(t.Context(), "r"); !errors.Is(err, errBroken) {
			t.Errorf("error %v: want the kernel's", err)
		}
	})
}
