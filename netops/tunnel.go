package netops

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// A tunnel is a VXLAN device (RFC 7348) whose outer packets are of one family. It learns nothing, asks nothing and floods nothing: all
// that it sends to is in its neighbours and forwarding entries, one for each other node. What they need to say follows from the node's
// address alone. The device has this node's own addresses besides, so that the host's packets take them as their source on the way in.

// tunnels are the names of the devices, by whether their outer packets are IPv4's.
var tunnels = map[bool]string{true: "berth-vx4", false: "berth-vx6"}

// isTunnel reports whether a link is called as our VXLAN devices are.
func isTunnel(name string) bool { return name == tunnels[true] || name == tunnels[false] }

// ownTunnel is the alias of a device that was made here.
const ownTunnel = "berth: tunnel"

// tunnelMAC is the MAC of a node's device: locally administered, and of IPv6 addresses a hash of 46 bits.
func tunnelMAC(node netip.Addr) (mac [6]byte) {
	if node.Is4() {
		a := node.As4()
		return [6]byte{'b', 'e', a[0], a[1], a[2], a[3]} // 'b' has the bits of a local address of one device
	}
	sum := sha256.Sum256(node.AsSlice())
	copy(mac[:], sum[:])
	mac[0] = mac[0]&^3 | 2
	return mac
}

// tunnelLinkLocal is the IPv6 address that a node has in the tunnel: the one of its MAC (RFC 4291, appendix A).
func tunnelLinkLocal(node netip.Addr) netip.Addr {
	m := tunnelMAC(node)
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// tunnelRoute leads through a device to another node.
func tunnelRoute(to netip.Prefix, node netip.Addr, device int) rtnl.OwnRoute {
	o := rtnl.OwnRoute{To: to, Metric: hopMetric, Index: device}
	if o.OnLink = to.Addr().Is4() && node.Is4(); o.OnLink {
		o.Via = node
	} else {
		o.Via = tunnelLinkLocal(node)
	}
	return o
}

// A tunnelEnd is a device as it is to be.
type tunnelEnd struct {
	name   string
	device rtnl.Vxlan
	mtu    int // 0: unknown
	locals []netip.Addr
	v6     bool // this kernel speaks IPv6
}

// ensureTunnel makes a device, or changes what is not as it is to be, and answers with it. One of ours with other attributes that the
// kernel does not change is made anew.
func (k *Kernel) ensureTunnel(s *rtnl.Socket, end tunnelEnd) (l rtnl.Link, err error) {
	l, err = rtnl.LinkNamed(s, end.name)
	switch {
	case errors.Is(err, unix.ENODEV):
	case err != nil:
		return l, err
	case l.Kind != "vxlan" || l.Alias != ownTunnel && l.Vxlan != end.device:
		return l, fmt.Errorf("this host has a link of that name, which Berth did not make (%s): rename it or take it away", l.Kind)
	case l.Vxlan != end.device:
		if err := s.Do(rtnl.DeleteLink(l.Index, l.Name)); err != nil {
			return l, err
		}
		l = rtnl.Link{}
	}
	if l.Index == 0 {
		if l, err = k.makeTunnel(s, end); err != nil {
			return l, err
		}
	}
	if err := k.changeTunnel(s, l, end); err != nil {
		return l, err
	}
	return l, giveTunnel(s, l.Index, end)
}

func (k *Kernel) makeTunnel(s *rtnl.Socket, end tunnelEnd) (l rtnl.Link, err error) {
	if end.mtu == 0 {
		return l, fmt.Errorf("no link has this node's own address %v: give it one, or correct --node-address", end.device.Local)
	}
	mac := tunnelMAC(end.device.Local)
	if err := s.Do(rtnl.MakeVxlan(end.name, end.device, mac[:], end.mtu)); err != nil {
		return l, taken(end.device, err)
	}
	own := rtnl.ChangeLink(0, "mark it", 0, rtnl.WithName(end.name), rtnl.WithAlias(ownTunnel))
	if err = s.Do(own); err == nil {
		l, err = rtnl.LinkNamed(s, end.name)
	}
	return l, err
}

// changeTunnel changes what a device can change, and brings it up.
func (k *Kernel) changeTunnel(s *rtnl.Socket, l rtnl.Link, end tunnelEnd) error {
	change, mac := rtnl.ChangeLink(l.Index, "change it", 0), tunnelMAC(end.device.Local)
	before := len(change.Data)
	if !slices.Equal(l.MAC, mac[:]) {
		change.AddData(rtnl.WithMAC(mac[:]))
	}
	if end.mtu != 0 && l.MTU != end.mtu {
		change.AddData(rtnl.WithMTU(end.mtu))
	}
	if l.Alias != ownTunnel {
		change.AddData(rtnl.WithAlias(ownTunnel))
	}
	if end.v6 && !l.Up() {
		change.AddData(rtnl.NoLinkLocal())
	}
	if len(change.Data) > before {
		if err := s.Do(change); err != nil {
			return err
		}
	}
	if err := rtnl.Within(k.home, func() error { return tunnelSettings(l.Name, end.v6) }); err != nil {
		return err
	}
	if l.Up() {
		return nil
	}
	return taken(end.device, s.Do(rtnl.ChangeLink(l.Index, "bring it up", unix.IFF_UP)))
}

// tunnelSettings has the host forward what comes by a device. It runs in the host's namespace.
func tunnelSettings(name string, v6 bool) error {
	err := sysctl.Set("1", sysctl.V4, name, "forwarding")
	if v6 {
		err = errors.Join(err, sysctl.AllowV6(name), sysctl.RefuseAdvertisements(name), sysctl.Set("1", sysctl.V6, name, "forwarding"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has ended meanwhile: %w", err)
	}
	return err
}

// giveTunnel makes the addresses of a device those of this node.
func giveTunnel(s *rtnl.Socket, index int, end tunnelEnd) error {
	want := map[netip.Prefix]rtnl.Address{}
	for _, a := range end.locals {
		p := netip.PrefixFrom(a, a.BitLen())
		want[p] = rtnl.Address{Prefix: p, Flags: unix.IFA_F_NOPREFIXROUTE, Proto: rtnl.OurProto}
	}
	if end.v6 {
		p := netip.PrefixFrom(tunnelLinkLocal(end.device.Local), 64)
		want[p] = rtnl.Address{Prefix: p, Scope: unix.RT_SCOPE_LINK, Proto: rtnl.OurProto}
	}
	held, err := rtnl.AddressesOf(s, unix.AF_UNSPEC, index)
	if err != nil {
		return err
	}
	for _, a := range held {
		if _, is := want[a.Prefix]; is {
			delete(want, a.Prefix)
		} else if err := s.Ensure(rtnl.DropAddress(index, a, fmt.Sprintf("take address %v off", a.Prefix))); err != nil {
			return err
		}
	}
	for p, a := range want {
		if err := s.Ensure(rtnl.PutAddress(index, a, fmt.Sprintf("add address %v", p))); err != nil {
			return err
		}
	}
	return nil
}

// taken says what an error of a device means that the kernel does not let be beside another one.
func taken(v rtnl.Vxlan, err error) error {
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("another program's VXLAN device, or its socket, has UDP port %d, and with it network identifier %d or other settings: "+
			"give Berth's tunnels others in the configuration's settings (vxlan: {id, port}), or take that device away: %w", v.Port, v.ID, err)
	}
	return err
}

// tunnelIndexes are the indexes of the devices that there are.
func tunnelIndexes(s *rtnl.Socket) (all []int, err error) {
	for _, name := range tunnels {
		l, err := rtnl.LinkNamed(s, name)
		if errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l.Index)
	}
	return all, nil
}
