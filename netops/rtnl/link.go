package rtnl

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Link is a network interface as the kernel reports it.
type Link struct {
	Family uint8 // AF_UNSPEC; AF_BRIDGE in news of a bridge about its port
	Index  int
	flags  uint32
	Name   string
	Alias  string
	// altNames are the link's alternative names: the long words of a port, see words.
	altNames []string
	Kind     string
	Vxlan    Vxlan // of a VXLAN device
	MAC      net.HardwareAddr
	MTU      int
	Master   int  // index; 0: none
	Peer     int  // of a veth: the other end's index, in its own namespace
	Hairpin  bool // of a bridge's port: a frame may leave by the port that it came in by
}

// Up reports whether the link was brought up.
func (l *Link) Up() bool { return l.flags&unix.IFF_UP != 0 }

// ParseLink reads the body of RTM_NEWLINK or RTM_DELLINK (rtnetlink(7)). What it returns shares nothing with body.
func ParseLink(body []byte) Link {
	if len(body) < unix.SizeofIfInfomsg {
		return Link{}
	}
	l := Link{
		Family: body[0],
		Index:  int(int32(native.Uint32(body[4:]))),
		flags:  native.Uint32(body[8:]),
	}
	for kind, value := range Attributes(body[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Name = Text(value)
		case unix.IFLA_IFALIAS:
			l.Alias = Text(value)
		case unix.IFLA_PROP_LIST:
			for kind, value := range Attributes(value) {
				if kind == unix.IFLA_ALT_IFNAME {
					l.altNames = append(l.altNames, Text(value))
				}
			}
		case unix.IFLA_ADDRESS:
			l.MAC = append(l.MAC, value...)
		case unix.IFLA_MTU:
			l.MTU = number(value)
		case unix.IFLA_MASTER:
			l.Master = number(value)
		case unix.IFLA_LINK:
			l.Peer = number(value)
		case unix.IFLA_LINKINFO:
			l.readInfo(value)
		}
	}
	return l
}

// readInfo reads IFLA_LINKINFO: the link's kind, and how it is a port of its bridge.
func (l *Link) readInfo(info []byte) {
	for kind, value := range Attributes(info) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			l.Kind = Text(value)
		case unix.IFLA_INFO_DATA: // it follows the kind
			if l.Kind == "vxlan" {
				l.Vxlan = parseVxlan(value)
			}
		case unix.IFLA_INFO_SLAVE_DATA:
			for kind, value := range Attributes(value) {
				if kind == nl.IFLA_BRPORT_MODE && len(value) > 0 {
					l.Hairpin = value[0] != 0
				}
			}
		}
	}
}

// askLink asks for the link of a name. The kernel puts a pending change of the carrier into effect before it answers.
func askLink(name string) Request {
	return ask(unix.RTM_GETLINK, 0, "look up "+name, ifInfo(0, 0), textAttr(unix.IFLA_IFNAME, name))
}

// LinkNamed looks a link up; unix.ENODEV says that there is none.
func LinkNamed(s *Socket, name string) (l Link, err error) {
	err = s.Get(func(_ uint16, body []byte) { l = ParseLink(body) }, askLink(name))
	return l, err
}

// LinkAt looks the link of an index up.
func LinkAt(s *Socket, index int) (l Link, err error) {
	err = s.Get(func(_ uint16, body []byte) { l = ParseLink(body) },
		ask(unix.RTM_GETLINK, 0, fmt.Sprint("look up link ", index), ifInfo(index, 0)))
	return l, err
}

// Links lists all links of the namespace.
func Links(s *Socket) (all []Link, err error) {
	err = s.dump(unix.RTM_GETLINK, "list links", func() { all = nil },
		func(_ uint16, body []byte) { all = append(all, ParseLink(body)) }, ifInfo(0, 0))
	return all, err
}

// ifInfo is the header of messages about a link; on are flags to be set.
func ifInfo(index int, on uint32) *nl.IfInfomsg {
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Flags, header.Change = int32(index), on, on
	return header
}

// ChangeLink asks for a link's attributes to be changed, and for flags to be set.
func ChangeLink(index int, what string, on uint32, changes ...*nl.RtAttr) Request {
	r := ask(unix.RTM_NEWLINK, 0, what, ifInfo(index, on))
	for _, change := range changes {
		r.AddData(change)
	}
	return r
}

// DeleteLink asks for the end of a link, told by its index or, where that is 0, by its name.
func DeleteLink(index int, name string) Request {
	return ask(unix.RTM_DELLINK, 0, "delete "+name, ifInfo(index, 0), WithName(name))
}

// What a link has or is to have. Each is part of a message.

// WithName is the name of a link.
func WithName(name string) *nl.RtAttr { return textAttr(unix.IFLA_IFNAME, name) }

// WithAlias is the words of a link, or their hash where they are too long for an alias: see NameAlternatively.
func WithAlias(words string) *nl.RtAttr {
	return nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(ShortAlias(words)))
}

// WithMTU is the greatest packet of a link.
func WithMTU(bytes int) *nl.RtAttr { return numberAttr(unix.IFLA_MTU, bytes) }

// WithMAC is the link-layer address of a link.
func WithMAC(mac net.HardwareAddr) *nl.RtAttr { return nl.NewRtAttr(unix.IFLA_ADDRESS, mac) }

// WithMaster makes a link the port of a bridge; index 0: of none.
func WithMaster(index int) *nl.RtAttr { return numberAttr(unix.IFLA_MASTER, index) }

// AsHairpin lets frames leave by the bridge's port that they came in by. The link has to be a port already: a message that makes it
// one cannot hold this.
func AsHairpin() *nl.RtAttr {
	return nested(unix.IFLA_LINKINFO, nested(unix.IFLA_INFO_SLAVE_DATA, nl.NewRtAttr(nl.IFLA_BRPORT_MODE, []byte{1})))
}

// NoLinkLocal keeps the kernel from giving a link an IPv6 address by itself.
func NoLinkLocal() *nl.RtAttr {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	return linkLocalBy(none)
}

// LinkLocalByMAC has the kernel give a link an IPv6 address by its MAC, as it does from the start.
func LinkLocalByMAC() *nl.RtAttr {
	const eui64 = 0 // IN6_ADDR_GEN_MODE_EUI64
	return linkLocalBy(eui64)
}

func linkLocalBy(mode byte) *nl.RtAttr {
	return nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, nl.NewRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{mode})))
}
