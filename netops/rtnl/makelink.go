package rtnl

import (
	"encoding/binary"
	"net"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A VethPair is a veth pair that is to be made: one end here, down, and its peer in another network namespace.
type VethPair struct {
	Name, Peer string
	Netns      *os.File // the peer's
	PeerMAC    net.HardwareAddr
	MTU        int // of both ends
	Master     int // index of the bridge that the end here is on; 0: on none
}

// MakeVethPair makes a pair, changes its end here, and answers with that, all in one exchange with the kernel.
func MakeVethPair(s *Socket, p VethPair, change Request) (made Link, err error) {
	err = s.Get(func(_ uint16, body []byte) { made = ParseLink(body) }, askPair(p), change, askLink(p.Name))
	return made, err
}

// askPair asks for both ends in one message, so that neither is ever renamed or moved.
func askPair(p VethPair) Request {
	// struct ifinfomsg begins the peer's description.
	peer := nl.NewRtAttr(nl.VETH_INFO_PEER, ifInfo(0, 0).Serialize())
	for _, part := range [...]*nl.RtAttr{
		WithName(p.Peer), WithMAC(p.PeerMAC), WithMTU(p.MTU), numberAttr(unix.IFLA_NET_NS_FD, int(p.Netns.Fd())),
	} {
		peer.AddChild(part)
	}
	pair := ask(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "make veth pair "+p.Name+", "+p.Peer, ifInfo(0, 0),
		WithName(p.Name), WithMTU(p.MTU), ofKind("veth", peer))
	if p.Master != 0 {
		pair.AddData(WithMaster(p.Master))
	}
	return pair
}

// MakeBridge asks for a bridge that forwards at once and whose MAC stays while ports come and go. Its ports get all
// multicast: neighbour discovery is not to depend on a querier in the network (RFC 4541, section 3).
func MakeBridge(name string, mac net.HardwareAddr, mtu int) Request {
	return ask(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "make it", ifInfo(0, 0),
		WithName(name), WithMAC(mac),
		// Another MTU than wanted: only a later change keeps the kernel from adjusting it to the ports'.
		WithMTU(mtu^1),
		ofKind("bridge",
			numberAttr(nl.IFLA_BR_FORWARD_DELAY, 0),
			numberAttr(nl.IFLA_BR_STP_STATE, 0),
			nl.NewRtAttr(nl.IFLA_BR_MCAST_SNOOPING, []byte{0}), noLinkLocalLearning()))
}

// LearnNothingFromLinkLocalGroups asks that a bridge learns no MAC from frames to 01-80-C2-00-00-00 to -0F. They pass the hooks of
// nftables by. A kernel before Linux 5.0 does not know of it, and learns.
func LearnNothingFromLinkLocalGroups(bridge int) Request {
	return ask(unix.RTM_NEWLINK, 0, "have it learn nothing from link-local groups", ifInfo(bridge, 0), ofKind("bridge", noLinkLocalLearning()))
}

// noLinkLocalLearning sets bit BR_BOOLOPT_NO_LL_LEARN: a value, and a mask of what is set (struct br_boolopt_multi).
func noLinkLocalLearning() *nl.RtAttr {
	return nl.NewRtAttr(unix.IFLA_BR_MULTI_BOOLOPT, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, 1), 1))
}

func ofKind(kind string, settings ...*nl.RtAttr) *nl.RtAttr {
	return nested(unix.IFLA_LINKINFO, nl.NewRtAttr(unix.IFLA_INFO_KIND, []byte(kind)), nested(unix.IFLA_INFO_DATA, settings...))
}
