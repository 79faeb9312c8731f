package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const (
	switchName  = "switch"
	switchOwn   = "10.200.0.1/24" // the nodes' network
	etcdAddress = "10.200.0.1:2379"
	NIC         = "eth0" // a node's
)

// makeSwitch makes the layer-2 network that every node is plugged into; it is also the gateway of the pools.
func makeSwitch(gateways []netip.Prefix) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: switchName}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("lab: make the switch: %w", err)
	}
	for _, address := range append(gateways, netip.MustParsePrefix(switchOwn)) {
		if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(address), Flags: 0x02}); err != nil { // IFA_F_NODAD
			return fmt.Errorf("lab: give the switch %v: %w", address, err)
		}
	}
	return netlink.LinkSetUp(bridge)
}

func removeSwitch() error {
	bridge, err := netlink.LinkByName(switchName)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil
	}
	links, _ := netlink.LinkList()
	for _, link := range links {
		if bridge != nil && link.Attrs().MasterIndex == bridge.Attrs().Index {
			err = errors.Join(err, netlink.LinkDel(link))
		}
	}
	return errors.Join(err, netlink.LinkDel(bridge))
}

// plugIn gives the node its NIC, with its address and its way out by the switch.
func plugIn(node *Node) error {
	bridge, err := netlink.LinkByName(switchName)
	if err != nil {
		return err
	}
	namespace, err := netns.GetFromPath(node.netns)
	if err != nil {
		return err
	}
	defer namespace.Close()
	cable := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "to-" + node.Name, MasterIndex: bridge.Attrs().Index, Flags: net.FlagUp},
		PeerName:  NIC, PeerNamespace: netlink.NsFd(namespace),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("lab: plug node %s in: %w", node.Name, err)
	}
	inside, err := netlink.NewHandleAt(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	nic, err := inside.LinkByName(NIC)
	if err != nil {
		return err
	}
	own := netip.PrefixFrom(node.Address, netip.MustParsePrefix(switchOwn).Bits())
	way := &netlink.Route{LinkIndex: nic.Attrs().Index, Gw: netip.MustParsePrefix(switchOwn).Addr().AsSlice()}
	return errors.Join(inside.AddrAdd(nic, &netlink.Addr{IPNet: ipNet(own)}), inside.LinkSetUp(nic), inside.RouteAdd(way))
}

// setCable pulls a node's cable out of the switch, or puts it back.
func setCable(node *Node, plugged bool) error {
	cable, err := netlink.LinkByName("to-" + node.Name)
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
