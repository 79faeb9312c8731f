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
	flags  uint8
}

func (n *neighbour) Len() int { return unix.SizeofNdMsg }

func (n *neighbour) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = n.family
	native.PutUint32(b[4:], uint32(n.index))
	native.PutUint16(b[8:], n.state)
	b[10] = n.flags
	return b
}

// PutNeighbour asks for a neighbour on a link whose MAC is not to be asked for on the wire.
func PutNeighbour(index int, at netip.Addr, mac net.HardwareAddr) Request {
	return ask(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, fmt.Sprintf("add neighbour %v", at),
		&neighbour{family: familyOf(at), index: index, state: unix.NUD_PERMANENT},
		addressAttr(unix.NDA_DST, at), nl.NewRtAttr(unix.NDA_LLADDR, mac))
}

// ExpectNeighbour asks for a neighbour whose MAC is used until another is heard (NUD_STALE, RFC 4861, section 7.3.2), so that the first
// packet to it need not wait for an answer. What is known of the neighbour already stays.
func ExpectNeighbour(index int, at netip.Addr, mac net.HardwareAddr) Request {
	r := ask(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL, fmt.Sprintf("expect neighbour %v", at),
		&neighbour{family: familyOf(at), index: index, state: unix.NUD_STALE},
		addressAttr(unix.NDA_DST, at), nl.NewRtAttr(unix.NDA_LLADDR, mac))
	r.Lenient = true
	return r
}

// A Neighbour is an entry of a link's neighbour table, or a forwarding entry (FDB) of a VXLAN device.
type Neighbour struct {
	Address netip.Addr // the neighbour's; of a forwarding entry the outer destination
	MAC     [6]byte
	Forward bool // a forwarding entry
	Lasts   bool // it is permanent
}

// NeighboursOf lists the neighbours of a VXLAN device, and its forwarding entries.
func NeighboursOf(s *Socket, index int) (all []Neighbour, err error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
		header, parts := &neighbour{family: family}, []nl.NetlinkRequestData(nil)
		if family == unix.AF_BRIDGE {
			header.index = index
		} else {
			parts = append(parts, numberAttr(unix.NDA_IFINDEX, index))
		}
		before := len(all)
		err = s.dump(unix.RTM_GETNEIGH, "list neighbours", func() { all = all[:before] }, func(_ uint16, body []byte) {
			if n, of := ParseNeighbour(body); of == index && body[0] == family { // old kernels list others, too
				all = append(all, n)
			}
		}, append([]nl.NetlinkRequestData{header}, parts...)...)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ParseNeighbour reads the body of RTM_NEWNEIGH or RTM_DELNEIGH (rtnetlink(7)), and tells the index of its link.
func ParseNeighbour(body []byte) (n Neighbour, index int) {
	if len(body) < unix.SizeofNdMsg {
		return n, 0
	}
	n.Forward, n.Lasts = body[0] == unix.AF_BRIDGE, native.Uint16(body[8:])&unix.NUD_PERMANENT != 0
	for kind, value := range Attributes(body[unix.SizeofNdMsg:]) {
		switch kind {
		case unix.NDA_DST:
			n.Address, _ = netip.AddrFromSlice(value)
		case unix.NDA_LLADDR:
			copy(n.MAC[:], value)
		}
	}
	return n, int(native.Uint32(body[4:]))
}

// SetNeighbour asks for an entry, in the place of what is there for the same neighbour, or the same MAC.
func SetNeighbour(index int, n Neighbour) Request {
	return aboutNeighbour(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, n)
}

// DropNeighbour asks for the end of an entry.
func DropNeighbour(index int, n Neighbour) Request {
	return aboutNeighbour(unix.RTM_DELNEIGH, 0, index, n)
}

func aboutNeighbour(kind, flags, index int, n Neighbour) Request {
	header := &neighbour{family: familyOf(n.Address), index: index, state: unix.NUD_PERMANENT}
	what := fmt.Sprintf("change neighbour %v", n.Address)
	if n.Forward {
		header.family, header.state, header.flags = unix.AF_BRIDGE, unix.NUD_PERMANENT|unix.NUD_NOARP, unix.NTF_SELF
		what = fmt.Sprintf("change the way to %v", n.Address)
	}
	r := ask(kind, flags, what, header)
	if n.Address.IsValid() {
		r.AddData(addressAttr(unix.NDA_DST, n.Address))
	}
	if n.Forward || kind == unix.RTM_NEWNEIGH {
		r.AddData(nl.NewRtAttr(unix.NDA_LLADDR, n.MAC[:]))
	}
	return r
}
