package netops

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	k, host := newBridge(t)
	for i, c := range []struct {
		name    string
		inside  func(p Port) error // what is done to the container
		outside func(p Port) error // what is done to the host
		words   []string
	}{
		{name: "address removed", words: []string{"lacks address 10.42."}, inside: func(p Port) error {
			return netlink.AddrDel(named(t, "eth0"), addr(p.Addresses[0].String()))
		}},
		{name: "IPv6 address removed", words: []string{"lacks address fd42::"}, inside: func(p Port) error {
			return netlink.AddrDel(named(t, "eth0"), addr(p.Addresses[1].String()))
		}},
		{name: "prefix changed", words: []string{"lacks address 10.42."}, inside: func(p Port) error {
			eth0 := named(t, "eth0")
			if err := netlink.AddrDel(eth0, addr(p.Addresses[0].String())); err != nil {
				return err
			}
			return netlink.AddrAdd(eth0, addr(p.Addresses[0].Addr().String()+"/24"))
		}},
		{name: "default route removed", words: []string{"route to 0.0.0.0/0 via 10.42.0.1"}, inside: func(p Port) error {
			return netlink.RouteDel(&netlink.Route{Gw: p.Gateways[0].AsSlice()})
		}},
		{name: "route removed", words: []string{"route to fd99::/32 via fd42::1"}, inside: func(p Port) error {
			return netlink.RouteDel(&netlink.Route{Dst: addr("fd99::/32").IPNet})
		}},
		{name: "interface down", words: []string{"interface eth0 is down"}, inside: func(p Port) error {
			return netlink.LinkSetDown(named(t, "eth0"))
		}},
		{name: "wrong MTU", words: []string{"interface eth0 has MTU 1600: want at most 1500"}, inside: func(p Port) error {
			return netlink.LinkSetMTU(named(t, "eth0"), 1600)
		}},
		{name: "wrong MAC", words: []string{"interface eth0 has MAC 02:00:00:00:00:01: want be:00:"}, inside: func(p Port) error {
			return netlink.LinkSetHardwareAddr(named(t, "eth0"), []byte{2, 0, 0, 0, 0, 1})
		}},
		{name: "interface gone", words: []string{"interface eth0 does not", "does not exist on the host"}, inside: func(p Port) error {
			return netlink.LinkDel(named(t, "eth0"))
		}},
		{name: "interface replaced", words: []string{"eth0 is not the other end"}, inside: func(p Port) error {
			if err := netlink.LinkSetDown(named(t, "eth0")); err != nil {
				return err
			}
			if err := netlink.LinkSetName(named(t, "eth0"), "eth1"); err != nil {
				return err
			}
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "other"})
		}},
		{name: "off the bridge", words: []string{"is not on bridge berth0"}, outside: func(p Port) error {
			return netlink.LinkSetNoMaster(named(t, p.Name))
		}},
		{name: "port down", words: []string{" is down"}, outside: func(p Port) error {
			return netlink.LinkSetDown(named(t, p.Name))
		}},
		{name: "port's MTU", words: []string{"port bth", " has MTU 1300: want 1500"}, outside: func(p Port) error {
			return netlink.LinkSetMTU(named(t, p.Name), 1300)
		}},
		{name: "two things", words: []string{"lacks address 10.42.", "is not on bridge berth0"}, inside: func(p Port) error {
			return netlink.AddrDel(named(t, "eth0"), addr(p.Addresses[0].String()))
		}, outside: func(p Port) error {
			return netlink.LinkSetNoMaster(named(t, p.Name))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, inside := newPort(t, i)
			p.Routes, p.MTU = []Route{{To: netip.MustParsePrefix("fd99::/32")}}, 1500
			_, err := k.Attach(p)
			must(t, err)
			must(t, k.Check(p))
			if c.inside != nil {
				inside.Do(func() error { return c.inside(p) })
			}
			if c.outside != nil {
				host.Do(func() error { return c.outside(p) })
			}
			if err := k.Check(p); !mentions(err, c.words...) {
				t.Errorf("error %v: want one that says %q", err, c.words)
			}
		})
	}
}

func TestCheckNamesAMissingBridge(t *testing.T) {
	k, host := newBridge(t)
	p, _ := newContainer(t, k, 1)
	host.Do(func() error { return netlink.LinkDel(named(t, "berth0")) })
	if err := k.Check(p); !mentions(err, "bridge berth0 does not exist") {
		t.Errorf("error %v", err)
	}
}

// A bridge of Berth's own follows the pools' MTU. A container that could not follow, and lags, is as it was added all the same.
func TestAPortThatIsWiderThanItsBridgeIsAFaultOnlyWhereTheBridgeIsNotBerthsOwn(t *testing.T) {
	k, host := newHost(t)
	narrowed := map[string]func(name string) error{
		"own": func(name string) error { _, err := k.EnsureBridge(Bridge{Name: name, MTU: 1400}); return err },
		"other": func(name string) error {
			host.Do(func() error { return netlink.LinkSetMTU(named(t, name), 1400) })
			return nil
		},
	}
	host.Do(func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "other"}}) })
	for n, name := range []string{"own", "other"} {
		_, err := k.EnsureBridge(Bridge{Name: name})
		must(t, err)
		p, _ := newPort(t, n+1)
		p.Bridge = name
		_, err = k.Attach(p)
		must(t, err)
		must(t, k.Check(p))
		must(t, narrowed[name](name))
		if err := k.Check(p); (err == nil) != (name == "own") || err != nil && !mentions(err, "MTU 1500", "1400") {
			t.Errorf("on bridge %q: %v", name, err)
		}
	}
}
