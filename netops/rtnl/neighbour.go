package rtnl

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// neighbour is the header of messages about one: struct ndmsg.
type neighbour struct {
	family uint8
	index  int
	state  uint16
}

func (n *neighbour) Len() int { return unix.SizeofNdMsg }

func (n *neighbour) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = n.family
	native.PutUint32(b[4:], uint32(n.index))
	native.PutUint16(b[8:], n.state)
	return b
}

// PutNeighbour asks for a neighbour on a link whose MAC is not to be asked for on the wire.
func PutNeighbour(index int, at netip.Addr, mac net.HardwareAddr) Request {
	return ask(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, fmt.Sprintf("add neighbour %v", at),
		&neighbour{familyOf(at), index, unix.NUD_PERMANENT}, addressAttr(unix.NDA_DST, at), nl.NewRtAttr(unix.NDA_LLADDR, mac))
}
