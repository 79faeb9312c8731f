package netops

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// isolate makes a port's member an isolated one.
func isolate(t *testing.T, k *Kernel, p Port, inside space) {
	t.Helper()
	m := Member{
		Port: p.Name, Class: "stateless", Routed: p.Routed, MAC: inside.LinkAt(p.Interface).Attrs().HardwareAddr, Isolated: true,
	}
	for _, a := range p.Addresses {
		m.Addresses = append(m.Addresses, a.Addr())
	}
	must(t, k.Restrict(m))
}

// What a Service leads to is judged, and not the Service's address; a container reaches itself by it.
func TestAServiceLeadsAnIsolatedContainerToItselfAndToNoOther(t *testing.T) {
	type container struct {
		Port
		space
	}
	for name, start := range map[string]func(t *testing.T) (*Kernel, space, func(n int) container){
		"flat": func(t *testing.T) (*Kernel, space, func(n int) container) {
			k, host := newBridge(t)
			host.Do(func() error { return sysctl.Set("1", sysctl.V4, "all", "forwarding") })
			return k, host, func(n int) container { p, in := newContainer(t, k, n); return container{p, in} }
		},
		"flat, and bridged packets pass the rules of IPv4": func(t *testing.T) (*Kernel, space, func(n int) container) {
			k, host := newBridge(t)
			passBridgedPackets(t, host)
			return k, host, func(n int) container { p, in := newContainer(t, k, n); return container{p, in} }
		},
		"routed": func(t *testing.T) (*Kernel, space, func(n int) container) {
			k, host := newRouter(t)
			return k, host, func(n int) container { p, in := newRouted(t, k, n); return container{p, in} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, host, add := start(t)
			outside(t, host)
			host.Do(func() error { return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.2")}) })
			p, q, other := add(1), add(2), add(3)
			isolate(t, k, p.Port, p.space)
			isolate(t, k, q.Port, q.space)
			one, two := p.Addresses[0].Addr(), q.Addresses[0].Addr()
			must(t, k.Separate([]Range{{From: one, To: one}, {From: two, To: two}}))
			at := netip.MustParseAddr("10.96.0.10")
			service(host, "services", "any", at, p.Addresses[0].Addr())
			if _, ok := asks(t, p.space, p.space, at, patience); !ok {
				t.Error("by its own Service it is not answered")
			}
			if _, ok := asks(t, q.space, p.space, at, silence); ok {
				t.Error("another isolated container is answered")
			}
			if _, ok := asks(t, other.space, p.space, at, patience); !ok {
				t.Error("a container that is not isolated is not answered")
			}
			if _, ok := asks(t, host, p.space, at, patience); !ok {
				t.Error("the host is not answered")
			}
		})
	}
}
