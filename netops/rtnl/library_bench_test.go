package rtnl

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BenchmarkBesideTheLibrary compares what this package asks of the kernel with the same by vishvananda/netlink's own calls, in
// turns: the time that a tenth of the rounds undercut, and the memory that a round takes. The host has a bridge and some hundred
// links beside it.
func BenchmarkBesideTheLibrary(b *testing.B) {
	host := newSpace(b)
	s := socketIn(b, host)
	var h *netlink.Handle
	host.Do(func() (err error) { h, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err })
	defer h.Close()
	must(b, s.Do(MakeBridge("berth0", net.HardwareAddr{0xbe, 0, 0, 0, 0, 1}, 1500)))
	for i := range 300 {
		must(b, s.Do(MakeBridge(fmt.Sprint("other", i), net.HardwareAddr{0xbe, 0, 0, 1, byte(i >> 8), byte(i)}, 1500)))
	}
	bridge, err := LinkNamed(s, "berth0")
	must(b, err)
	must(b, s.Do(ChangeLink(bridge.Index, "up", unix.IFF_UP), PutAddress(bridge.Index, PlainAddress(prefixes("10.42.0.1/16")[0]), "give")))
	theirs, err := h.LinkByIndex(bridge.Index)
	must(b, err)
	c := comparison{host, s, h, bridge, theirs, host.Open()}
	for _, pair := range []struct {
		name       string
		ours, libs func(b *testing.B)
		after      func(b *testing.B) // of each, not measured
	}{
		{"link-by-name", c.byName, c.libByName, nil},
		{"link-by-name-once", c.once, c.libOnce, nil},
		{"links", c.links, c.libLinks, nil},
		{"addresses-of-a-link", c.addresses, c.libAddresses, nil},
		{"routes", c.routes, c.libRoutes, nil},
		{"namespace-id", c.namespaceID, c.libNamespaceID, nil},
		{"delete-a-bridge", c.remove, c.libRemove, c.addBridge},
		{"make-a-pair", c.pair, c.libPair, c.unpair},
		{"configure-a-container", c.configure, c.libConfigure, c.clean},
	} {
		b.Run(pair.name, func(b *testing.B) {
			if pair.after != nil {
				pair.after(b)
			}
			var times [2][]float64
			var memory [2]uint64
			for b.Loop() {
				for i, do := range [...]func(*testing.B){pair.ours, pair.libs} {
					var before, end runtime.MemStats
					runtime.ReadMemStats(&before)
					start := time.Now()
					do(b)
					times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/1e3)
					runtime.ReadMemStats(&end)
					memory[i] += end.TotalAlloc - before.TotalAlloc
					if pair.after != nil {
						pair.after(b)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, whose := range [...]string{"ours", "library"} {
				slices.Sort(times[i])
				b.ReportMetric(times[i][len(times[i])/10], whose+"-µs")
				b.ReportMetric(float64(memory[i])/float64(len(times[i]))/1024, whose+"-KiB")
			}
			b.ReportMetric(times[1][len(times[1])/10]/times[0][len(times[0])/10], "library/ours")
		})
	}
}

type comparison struct {
	host   space
	s      *Socket
	h      *netlink.Handle
	bridge Link
	theirs netlink.Link
	netns  *os.File // the host's own: a veth pair costs the same in it
}

func (c *comparison) byName(b *testing.B) { _, err := LinkNamed(c.s, "berth0"); must(b, err) }

func (c *comparison) libByName(b *testing.B) { _, err := c.h.LinkByName("berth0"); must(b, err) }

// once is a look-up from inside the namespace, with a socket of its own.
func (c *comparison) once(b *testing.B) {
	c.host.Do(func() error {
		s, err := OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = LinkNamed(s, "berth0")
		return err
	})
}

func (c *comparison) libOnce(b *testing.B) {
	c.host.Do(func() error { _, err := netlink.LinkByName("berth0"); return err })
}

func (c *comparison) links(b *testing.B) { _, err := Links(c.s); must(b, err) }

func (c *comparison) libLinks(b *testing.B) { _, err := c.h.LinkList(); must(b, err) }

func (c *comparison) addresses(b *testing.B) {
	_, err := AddressesOf(c.s, unix.AF_UNSPEC, c.bridge.Index)
	must(b, err)
}

func (c *comparison) libAddresses(b *testing.B) {
	_, err := c.h.AddrList(c.theirs, netlink.FAMILY_ALL)
	must(b, err)
}

func (c *comparison) routes(b *testing.B) { _, err := Routes(c.s); must(b, err) }

func (c *comparison) libRoutes(b *testing.B) {
	for _, family := range [...]int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		_, err := c.h.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		must(b, err)
	}
}

func (c *comparison) namespaceID(b *testing.B) {
	_, err := GiveNamespaceID(c.s, c.netns, 7)
	must(b, err)
}

func (c *comparison) libNamespaceID(b *testing.B) {
	if c.h.SetNetNsIdByFd(int(c.netns.Fd()), 7) != nil {
		_, err := c.h.GetNetNsIdByFd(int(c.netns.Fd()))
		must(b, err)
	}
}

func (c *comparison) addBridge(b *testing.B) {
	_ = c.s.Do(MakeBridge("gone", net.HardwareAddr{0xbe, 0, 0, 0, 0, 2}, 1500))
}

func (c *comparison) remove(b *testing.B) { must(b, c.s.Do(DeleteLink(0, "gone"))) }

func (c *comparison) libRemove(b *testing.B) {
	must(b, c.h.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "gone"}}))
}

var (
	pairMAC   = net.HardwareAddr{0xbe, 0, 0, 0, 0, 3}
	addresses = []netip.Prefix{netip.MustParsePrefix("10.43.0.2/16"), netip.MustParsePrefix("fd43::2/64")}
	gateways  = []netip.Addr{netip.MustParseAddr("10.43.0.1"), netip.MustParseAddr("fd43::1")}
)

func (c *comparison) pair(b *testing.B) {
	change := ChangeLink(0, "change", unix.IFF_UP, WithName("bth1"), WithAlias("words"), NoLinkLocal())
	ends := VethPair{Name: "bth1", Peer: "eth1", Netns: c.netns, PeerMAC: pairMAC, MTU: 1500, Master: c.bridge.Index}
	_, err := MakeVethPair(c.s, ends, change)
	must(b, err)
}

func (c *comparison) libPair(b *testing.B) {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "bth1", MTU: 1500, MasterIndex: c.bridge.Index},
		PeerName:  "eth1", PeerHardwareAddr: pairMAC, PeerMTU: 1500, PeerNamespace: netlink.NsFd(c.netns.Fd()),
	}
	must(b, c.h.LinkAdd(veth))
	must(b, c.h.LinkSetAlias(veth, "words"))
	must(b, c.h.LinkSetIP6AddrGenMode(veth, 1)) // none
	must(b, c.h.LinkSetUp(veth))
	_, err := c.h.LinkByName("bth1")
	must(b, err)
}

func (c *comparison) unpair(b *testing.B) { _ = c.s.Do(DeleteLink(0, "bth1")) }

func (c *comparison) configure(b *testing.B) {
	c.host.Do(func() error {
		s, err := OpenSocket()
		if err != nil {
			return err
		}
		defer s.Close()
		requests := []Request{ChangeLink(1, "lo up", unix.IFF_UP), ChangeLink(c.bridge.Index, "up", unix.IFF_UP)}
		for _, a := range addresses {
			requests = append(requests, PutAddress(c.bridge.Index, PlainAddress(a), "give"))
		}
		for i, to := range prefixes("192.0.2.0/24", "2001:db8::/32") {
			requests = append(requests, PutRoute(c.bridge.Index, to, gateways[i], "route"))
		}
		return s.Do(requests...)
	})
}

func (c *comparison) libConfigure(b *testing.B) {
	c.host.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		must(b, h.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}))
		must(b, h.LinkSetUp(c.theirs))
		for _, a := range addresses {
			must(b, h.AddrAdd(c.theirs, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}))
		}
		for i, to := range prefixes("192.0.2.0/24", "2001:db8::/32") {
			route := &netlink.Route{LinkIndex: c.bridge.Index, Dst: ipNet(to), Gw: gateways[i].AsSlice(), Protocol: unix.RTPROT_STATIC}
			must(b, h.RouteAdd(route))
		}
		return nil
	})
}

func (c *comparison) clean(b *testing.B) {
	for _, a := range addresses {
		_ = c.s.Do(DropAddress(c.bridge.Index, PlainAddress(a), "clean"))
	}
	for i, to := range prefixes("192.0.2.0/24", "2001:db8::/32") {
		_ = c.s.Do(RemoveRoute(c.bridge.Index, to, gateways[i], "clean"))
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
