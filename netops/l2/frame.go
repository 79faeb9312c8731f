package l2

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// AnnouncementFrame is the Ethernet frame by which an address says where it is.
func AnnouncementFrame(a netip.Addr, mac net.HardwareAddr) []byte {
	if a.Is4() {
		return arpAnnouncement(a.As4(), mac)
	}
	return neighbourAdvertisement(a.As16(), mac)
}

// probeFrame is the Ethernet frame that probes an address without claiming it.
func probeFrame(a netip.Addr, mac net.HardwareAddr) []byte {
	if a.Is4() {
		return arpProbe(a.As4(), mac)
	}
	return neighbourSolicitation(a.As16(), mac)
}

// sizeofEthernet is the size of an Ethernet header without a VLAN tag.
const sizeofEthernet = 14

// answer reads an address and its MAC from a frame.
func answer(frame []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(frame) < sizeofEthernet+sizeofARP {
		return a, nil, false
	}
	source, body := net.HardwareAddr(frame[6:12]), frame[sizeofEthernet:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		return arpSender(body)
	case unix.ETH_P_IPV6:
		return advertised(body, source)
	}
	return a, nil, false
}
