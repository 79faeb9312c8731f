package agent

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// onBridge are the addresses of the pool tiny that the host has on berth0.
func (r *rig) onBridge() (all []string) {
	r.t.Helper()
	link, err := net.InterfaceByName("berth0")
	check(r.t, err)
	addrs, err := link.Addrs()
	check(r.t, err)
	for _, a := range addrs {
		if p := netip.MustParsePrefix(a.String()); netip.MustParsePrefix("10.7.0.0/28").Contains(p.Addr()) {
			all = append(all, p.Addr().String())
		}
	}
	slices.Sort(all)
	return all
}

func (r *rig) has(addresses ...string) func() bool {
	slices.Sort(addresses)
	return func() bool { return slices.Equal(r.onBridge(), addresses) }
}

// withTiny is a rig with the pool tiny.
func withTiny(t *testing.T) *rig {
	r := newRig(t)
	r.apply(allocator.Pool{
		Name: "tiny", CIDRs: prefixes("10.7.0.0/28"), Gateways: []netip.Addr{netip.MustParseAddr("10.7.0.1")},
		BlockSize: allocator.BlockSize{V4: 28},
	})
	r.until("the agent has the pool", func() bool { _, _, err := r.agent.Pool("tiny"); return err == nil })
	return r
}

// moveGateway applies another gateway of a pool.
func (r *rig) moveGateway(pool, to string) error {
	r.t.Helper()
	base, err := r.store.Config.Read(r.t.Context())
	check(r.t, err)
	next := base.Clone()
	p := next.Pools[pool]
	p.Gateways = []netip.Addr{netip.MustParseAddr(to)}
	next.Pools[pool] = p
	_, err = r.store.Editor.Apply(r.t.Context(), base, next, config.Note{Who: "test"})
	return err
}

func TestAGatewayThatMovedIsTheOnlyOneOnTheBridgeAndTheFormerOneIsFreeThen(t *testing.T) {
	r := withTiny(t)
	first := r.add(r.tiny("a"))
	if !r.has("10.7.0.1")() {
		t.Fatalf("the bridge has %v", r.onBridge())
	}
	to := "10.7.0.14"
	if first.String() == to {
		to = "10.7.0.13"
	}
	check(t, r.moveGateway("tiny", to))
	r.until("only the present gateway is on the bridge", r.has(to))
	former := netip.MustParseAddr("10.7.0.1")
	r.until("the former one is free", func() bool {
		p := r.agent.Config().Pools["tiny"]
		return p.Usable(former)
	})
	r.until("the container has the new gateway", func() bool {
		routes := r.agent.Journal.Entries()[0].Wiring.Gateways
		return slices.Equal(routes, []netip.Addr{netip.MustParseAddr(to)})
	})
	c := r.tiny("b")
	c.Addresses = []string{former.String()}
	if got := r.add(c); got != former {
		t.Errorf("the former gateway was asked for, and it got %s", got)
	}
}

func TestAGatewayNeverMovesOntoAContainer(t *testing.T) {
	r := withTiny(t)
	a := r.add(r.tiny("a"))
	r.until("it shows", func() bool {
		s, err := r.store.Blocks.Assignment(t.Context(), "tiny", a)
		return err == nil && s != nil
	})
	err := r.moveGateway("tiny", a.String())
	if taken, ok := errors.AsType[*record.TakenError](err); !ok || !strings.Contains(taken.Error(), "container a on node n1") {
		t.Errorf("the error is %v", err)
	}
	if !r.has("10.7.0.1")() {
		t.Errorf("the bridge has %v", r.onBridge())
	}
}

func TestAFormerGatewayIsTakenOffByTheNextAgentToo(t *testing.T) {
	r := withTiny(t)
	r.add(r.tiny("a"))
	r.del(r.tiny("a"))
	r.stop()
	base, err := r.store.Config.Read(t.Context())
	check(t, err)
	next := base.Clone()
	p := next.Pools["tiny"]
	p.Gateways = nil
	next.Pools["tiny"] = p
	_, err = r.store.Editor.Apply(t.Context(), base, next, config.Note{})
	check(t, err)
	r.start()
	r.until("the bridge has none", r.has())
}

func TestARemovedPoolsGatewayIsTakenOffAndItsIdleBlocksAreGivenBackAtOnce(t *testing.T) {
	r := withTiny(t)
	r.add(r.tiny("a"))
	r.del(r.tiny("a"))
	base, err := r.store.Config.Read(t.Context())
	check(t, err)
	base, err = r.store.Editor.Drain(t.Context(), base, "tiny", config.Note{})
	check(t, err)
	_, err = r.store.Editor.WaitDrained(t.Context(), "tiny", nil)
	check(t, err)
	_, err = r.store.Editor.RemovePool(t.Context(), base, "tiny", config.Note{})
	check(t, err)
	r.until("the bridge has none", r.has())
}

// everyPool is for giving back whatever is idle.
func everyPool(string) bool { return true }
