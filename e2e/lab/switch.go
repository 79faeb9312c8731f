package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
)

const (
	switchName = "switch"
	switchOwn  = "10.200.0.1/24" // the nodes' network
	// the same of IPv6, where there is one
	switchOwnV6 = "fd00:c8::1/64"
	NIC         = "eth0" // a node's
)

// makeSwitch makes the layer-2 network that every node is plugged into; it is also the gateway of the pools.
func makeSwitch(gateways []netip.Prefix) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: switchName}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("lab: make the switch: %w", err)
	}
	for _, address := range append(gateways, netip.MustParsePrefix(switchOwn)) {
		if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(address), Flags: ifaNoDAD}); err != nil {
			return fmt.Errorf("lab: give the switch %v: %w", address, err)
		}
	}
	return netlink.LinkSetUp(bridge)
}

// removeSwitch takes it away with all cables, those that lead past it to the router, too.
func removeSwitch() error {
	bridge, err := netlink.LinkByName(switchName)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil
	}
	links, _ := dump.Whole(func() ([]netlink.Link, error) { return netlink.LinkList() })
	for _, link := range links {
		plugged := bridge != nil && link.Attrs().MasterIndex == bridge.Attrs().Index
		if plugged || strings.HasPrefix(link.Attrs().Name, portOf("")) {
			err = errors.Join(err, netlink.LinkDel(link))
		}
	}
	return errors.Join(err, netlink.LinkDel(bridge))
}

// portOf names the switch's end of a machine's cable.
func portOf(machine string) string { return "to-" + machine }

// plugIn gives a machine its NIC, with an address of each family that it is given one of, and its ways out by the router of their network.
func plugIn(machine, path string, addresses ...netip.Addr) error {
	port := netlink.LinkAttrs{Name: portOf(machine), Flags: net.FlagUp}
	if !apart(addresses[0]) {
		bridge, err := netlink.LinkByName(switchName)
		if err != nil {
			return err
		}
		port.MasterIndex = bridge.Attrs().Index
	}
	namespace, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer namespace.Close()
	cable := &netlink.Veth{
		LinkAttrs: port, PeerName: NIC, PeerNamespace: netlink.NsFd(namespace), PeerHardwareAddr: macOf(addresses),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("lab: plug %s in: %w", machine, err)
	}
	if apart(addresses[0]) {
		if err := plugIntoRouter(port.Name, addresses); err != nil {
			return fmt.Errorf("lab: plug %s into the router: %w", machine, err)
		}
	}
	inside, err := netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	nic, err := inside.LinkByName(NIC)
	if err != nil {
		return err
	}
	err = inside.LinkSetUp(nic)
	for _, address := range addresses {
		router := routerOf(address)
		own := netip.PrefixFrom(address, router.Bits())
		way := &netlink.Route{LinkIndex: nic.Attrs().Index, Gw: router.Addr().AsSlice()}
		err = errors.Join(err, inside.AddrAdd(nic, &netlink.Addr{IPNet: ipNet(own), Flags: ifaNoDAD}), inside.RouteAdd(way))
	}
	return err
}

// macOf is the MAC of a machine's NIC: it stays the same when the machine boots anew, as a real one's does.
func macOf(addresses []netip.Addr) net.HardwareAddr {
	four := addresses[0].As4()
	return append(net.HardwareAddr{0x06, 0x4c}, four[:]...)
}

// Seat is addresses of the nodes' network that no machine of the lab has, for one that is plugged in by hand.
func (l *Lab) Seat() (all []netip.Prefix) {
	all = append(all, netip.MustParsePrefix("10.200.0.250/24"))
	if l.options.IPv6 {
		all = append(all, netip.MustParsePrefix("fd00:c8::fa/64"))
	}
	return all
}

// ifaNoDAD has an address usable at once (IFA_F_NODAD).
const ifaNoDAD = 0x02

// pullOut takes a machine's NIC away for good; absence is success.
func pullOut(machine string) error {
	cable, err := netlink.LinkByName(portOf(machine))
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(cable)
}

// setCable pulls a machine's cable out of the switch, or puts it back.
func setCable(machine string, plugged bool) error {
	cable, err := netlink.LinkByName(portOf(machine))
	if err != nil {
		return err
	}
	if plugged {
		return netlink.LinkSetUp(cable)
	}
	return netlink.LinkSetDown(cable)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
