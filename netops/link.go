package netops

import (
	"net"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A link is a network interface as the kernel tells it.
type link struct {
	family uint8 // AF_UNSPEC; AF_BRIDGE in news of a bridge about its port
	index  int
	flags  uint32
	name   string
	alias  string
	// altNames are the link's alternative names: the long words of a port, see words.
	altNames []string
	kind     string
	mac      net.HardwareAddr
	mtu      int
	master   int // index; 0: none
	peer     int // of a veth: the other end's index, in its own namespace
}

func (l *link) up() bool { return l.flags&unix.IFF_UP != 0 }

// parseLink reads the body of RTM_NEWLINK or RTM_DELLINK (rtnetlink(7)). What it returns shares nothing with body.
func parseLink(body []byte) link {
	if len(body) < unix.SizeofIfInfomsg {
		return link{}
	}
	l := link{
		family: body[0],
		index:  int(int32(native.Uint32(body[4:]))),
		flags:  native.Uint32(body[8:]),
	}
	for kind, value := range attributes(body[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = text(value)
		case unix.IFLA_IFALIAS:
			l.alias = text(value)
		case unix.IFLA_PROP_LIST:
			for kind, value := range attributes(value) {
				if kind == unix.IFLA_ALT_IFNAME {
					l.altNames = append(l.altNames, text(value))
				}
			}
		case unix.IFLA_ADDRESS:
			l.mac = append(l.mac, value...)
		case unix.IFLA_MTU:
			l.mtu = number(value)
		case unix.IFLA_MASTER:
			l.master = number(value)
		case unix.IFLA_LINK:
			l.peer = number(value)
		case unix.IFLA_LINKINFO:
			for kind, value := range attributes(value) {
				if kind == unix.IFLA_INFO_KIND {
					l.kind = text(value)
				}
			}
		}
	}
	return l
}

// askLink asks for the link of a name. The kernel puts a pending change of the carrier into effect before it answers.
func askLink(name string) request {
	return ask(unix.RTM_GETLINK, 0, "look up "+name, ifInfo(0, 0), textAttr(unix.IFLA_IFNAME, name))
}

// linkNamed looks a link up; unix.ENODEV says that there is none.
func linkNamed(s *socket, name string) (l link, err error) {
	err = s.get(func(_ uint16, body []byte) { l = parseLink(body) }, askLink(name))
	return l, err
}

// lookUp looks a link up in the network namespace of the calling thread. The standard library's lookup by name lists all links
// there are.
func lookUp(name string) (link, error) {
	s, err := openSocket()
	if err != nil {
		return link{}, err
	}
	defer s.close()
	return linkNamed(s, name)
}

// links lists all links of the namespace.
func links(s *socket) (all []link, err error) {
	err = s.dump(unix.RTM_GETLINK, "list links", func() { all = nil },
		func(_ uint16, body []byte) { all = append(all, parseLink(body)) }, ifInfo(0, 0))
	return all, err
}

// ifInfo is the header of messages about a link; on are flags to be set.
func ifInfo(index int, on uint32) *nl.IfInfomsg {
	header := nl.NewIfInfomsg(unix.AF_UNSPEC)
	header.Index, header.Flags, header.Change = int32(index), on, on
	return header
}

// changeLink asks for a link's attributes to be changed, and for flags to be set.
func changeLink(index int, what string, on uint32, changes ...*nl.RtAttr) request {
	r := ask(unix.RTM_NEWLINK, 0, what, ifInfo(index, on))
	for _, change := range changes {
		r.AddData(change)
	}
	return r
}

// noLinkLocal keeps the kernel from giving a link an IPv6 address by itself.
func noLinkLocal() *nl.RtAttr {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	return nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, nl.NewRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{none})))
}
