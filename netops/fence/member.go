package fence

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// A Member is a port of a traffic class, and what it may send.
type Member struct {
	Port  string // its name
	Class string // "stateless" or "stateful"

	Routed bool // it is on no bridge: what it may send is what the host leads to over it, and MAC and Addresses do not count

	// Its frames have this source MAC and one of these addresses, in ARP and neighbour discovery, too.
	MAC       net.HardwareAddr
	Addresses []netip.Addr

	Trusted bool // it may send what it likes, whatever MAC and Addresses

	Isolated bool // it exchanges nothing with other isolated ones, of this node or by what Separate says; only with itself, by Addresses
}

func (m *Member) validate() error {
	switch {
	case classSets[m.Class] == nil:
		return fmt.Errorf("class %q: want one of %q", m.Class, classes)
	case !m.Trusted && !m.Routed && len(m.MAC) != sizeofMAC:
		return fmt.Errorf("MAC %q: want one of Ethernet, which the port's frames come from", m.MAC)
	}
	return nil
}

const sizeofMAC = 6

// An element is one of a set, as the kernel has it.
type element struct {
	set *nftables.Set
	key string
}

// elements are what the sets hold of a member.
func (m *Member) elements() []element {
	table := filterTable
	if m.Routed {
		table = routedTable
	}
	all := []element{{of(table, classSets[m.Class]), portKey(m.Port)}}
	if m.Isolated {
		all = append(all, m.isolation(table)...)
	}
	if m.Trusted {
		return append(all, element{of(table, trusted), portKey(m.Port)})
	}
	if m.Routed {
		return all
	}
	all = append(all, element{senders, m.key(netip.Addr{})}, element{sendersV6, m.key(linkLocal(m.MAC))})
	for _, a := range m.Addresses {
		e := element{sendersV6, m.key(a.Unmap())}
		if a.Unmap().Is4() {
			e.set = sendersV4
		}
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all
}

// portKey is a port's name as a set holds it.
func portKey(port string) string {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, port)
	return string(name)
}

func portOf(key string) string { return strings.TrimRight(key[:unix.IFNAMSIZ], "\x00") }

// key is the port's name, its MAC, which fills two registers, and an address, if there is one.
func (m *Member) key(a netip.Addr) string {
	mac := make([]byte, sizeofMACKey)
	copy(mac, m.MAC)
	return portKey(m.Port) + string(mac) + string(a.AsSlice())
}

const sizeofMACKey = 8

// linkLocal is the address that an interface gives itself by its MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80, 11: 0xff, 12: 0xfe}
	copy(a[8:11], mac[:3])
	copy(a[13:], mac[3:])
	a[8] ^= 2 // who assigns it: the bit is inverted
	return netip.AddrFrom16(a)
}

// membersOf are the members that a kernel's elements make. What it has of ports in no class makes none.
func membersOf(held map[element]bool) map[string]Member {
	members := map[string]Member{}
	for e := range held {
		name, rest := portOf(e.key), e.key[unix.IFNAMSIZ:]
		m := members[name]
		switch m.Port = name; e.set {
		case trusted, twins[trusted]:
			m.Trusted = true
		case isolated, twins[isolated]:
			m.Isolated = true
		case senders:
			m.MAC = net.HardwareAddr(rest[:sizeofMAC])
		case sendersV4, sendersV6:
			m.learn(rest[sizeofMACKey:])
		case selvesV4, selvesV6, twins[selvesV4], twins[selvesV6]:
			m.learn(rest[:len(rest)/2])
		default:
			m.Class = e.set.Name
		}
		m.Routed = m.Routed || e.set.Table == routedTable && !pairs(e.set)
		members[name] = m
	}
	for name, m := range members {
		if m.validate() != nil {
			delete(members, name)
		}
	}
	return members
}

// elementsOf are what the sets hold of all members.
func elementsOf(members map[string]Member) map[element]bool {
	all := make(map[element]bool, 4*len(members))
	for _, m := range members {
		for _, e := range m.elements() {
			all[e] = true
		}
	}
	return all
}

// without are the elements that others lack.
func without(all, others []element) []element {
	return slices.DeleteFunc(slices.Clone(all), func(e element) bool { return slices.Contains(others, e) })
}
