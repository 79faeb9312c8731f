package rtnl

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Vxlan is what a VXLAN device (RFC 7348) has from the start. The kernel does not change the first two later.
type Vxlan struct {
	ID    uint32
	Port  uint16     // UDP, of this end and the others
	Local netip.Addr // the outer source
	// Other is that the device learns MACs, asks or answers by itself, or has a group or a peer to which it sends what it does not know.
	Other bool
}

// MakeVxlan asks for a device that is down and sends only where its forwarding entries lead.
func MakeVxlan(name string, v Vxlan, mac net.HardwareAddr, mtu int) Request {
	local := uint16(nl.IFLA_VXLAN_LOCAL)
	if v.Local.Is6() {
		local = nl.IFLA_VXLAN_LOCAL6
	}
	return ask(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "make it", ifInfo(0, 0),
		WithName(name), WithMAC(mac), WithMTU(mtu),
		ofKind("vxlan", numberAttr(nl.IFLA_VXLAN_ID, int(v.ID)), addressAttr(local, v.Local),
			nl.NewRtAttr(nl.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, v.Port)), nl.NewRtAttr(nl.IFLA_VXLAN_LEARNING, []byte{0})))
}

// parseVxlan reads IFLA_INFO_DATA of a VXLAN device.
func parseVxlan(data []byte) (v Vxlan) {
	for kind, value := range Attributes(data) {
		switch kind {
		case nl.IFLA_VXLAN_ID:
			v.ID = uint32(number(value))
		case nl.IFLA_VXLAN_PORT:
			if len(value) >= 2 {
				v.Port = binary.BigEndian.Uint16(value)
			}
		case nl.IFLA_VXLAN_LOCAL, nl.IFLA_VXLAN_LOCAL6:
			if a, _ := netip.AddrFromSlice(value); a.IsValid() && !a.IsUnspecified() {
				v.Local = a
			}
		case nl.IFLA_VXLAN_LEARNING, nl.IFLA_VXLAN_PROXY, nl.IFLA_VXLAN_RSC, nl.IFLA_VXLAN_FLOWBASED:
			v.Other = v.Other || len(value) > 0 && value[0] != 0
		case nl.IFLA_VXLAN_GROUP, nl.IFLA_VXLAN_GROUP6, nl.IFLA_VXLAN_LINK:
			v.Other = v.Other || len(value) > 4 || number(value) != 0
		}
	}
	return v
}
