package fence

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"
)

// A sent frame is one that a port sends, and whether it may.
type sentFrame struct {
	what  string
	frame []byte
	may   bool
}

func (f sentFrame) whole() bool { return len(f.frame) >= 14+20 || f.frame[12] != 8 || f.frame[13] != 0 }

// framesOf are those of a container, 10.42.0.2 and fd42::2, to all and to another, and as which that other and nobody would send them.
func framesOf(own, to net.HardwareAddr) []sentFrame {
	local, another := linkLocal(own).String(), linkLocal(to).String()
	first := slices.Concat([]byte{unix.IPPROTO_ICMPV6, 0, 0, 1, 0, 0, 0, 7}, ndMessage(advertisement, "fd42::3", own))
	report := []byte{143, 0, 0, 0, 0, 0, 0, 0}
	further := slices.Concat([]byte{unix.IPPROTO_ICMPV6, 0, 0, 8, 0, 0, 0, 7}, udp)
	return []sentFrame{
		{"IPv4", v4Frame(to, own, "10.42.0.2"), true},
		{"IPv4 from another's address", v4Frame(to, own, "10.42.0.3"), false},
		{"IPv4 from another MAC", v4Frame(to, stranger, "10.42.0.2"), false},
		{"IPv4 from no address, as DHCP", v4Frame(everybody, own, "0.0.0.0"), false},
		{"IPv4 with a VLAN's tag", tagged(v4Frame(to, own, "10.42.0.2"), unix.ETH_P_8021Q), false},
		{"IPv4 with a provider's tag", tagged(v4Frame(to, own, "10.42.0.2"), unix.ETH_P_8021AD), false},
		{"less than an IPv4 header", ethernetFrame(to, own, unix.ETH_P_IP, []byte{0x45, 0, 0, 28}), false},

		{"ARP request", arpFrame(own, own, 1, "10.42.0.2", "10.42.0.4"), true},
		{"ARP announcement", arpFrame(own, own, 1, "10.42.0.2", "10.42.0.2"), true},
		{"ARP answer", arpFrame(own, own, 2, "10.42.0.2", "10.42.0.4"), true},
		{"ARP probe for its own address", arpFrame(own, own, 1, "0.0.0.0", "10.42.0.2"), true},
		{"ARP probe for another's", arpFrame(own, own, 1, "0.0.0.0", "10.42.0.3"), false},
		{"ARP announcement of another's address", arpFrame(own, own, 1, "10.42.0.3", "10.42.0.3"), false},
		{"ARP answer for another's address", arpFrame(own, own, 2, "10.42.0.3", "10.42.0.4"), false},
		{"ARP that names another MAC", arpFrame(own, stranger, 2, "10.42.0.2", "10.42.0.4"), false},
		{"ARP from another MAC", arpFrame(stranger, own, 2, "10.42.0.2", "10.42.0.4"), false},
		{"ARP of another kind of network", ethernetFrame(everybody, own, unix.ETH_P_ARP, []byte{0, 6, 8, 0, 6, 4, 0, 1}, own,
			bytesOf("10.42.0.2"), make([]byte, 6), bytesOf("10.42.0.2")), false},

		{"IPv6", v6Frame(to, own, "fd42::2", "fd42::4", unix.IPPROTO_UDP, udp), true},
		{"IPv6 behind an extension", v6Frame(to, own, "fd42::2", "fd42::4", unix.IPPROTO_UDP, udp, unix.IPPROTO_DSTOPTS), true},
		{"IPv6 from its link-local address", v6Frame(to, own, local, another, unix.IPPROTO_UDP, udp), true},
		{"IPv6 from another link-local address", v6Frame(to, own, "fe80::1", another, unix.IPPROTO_UDP, udp), false},
		{"IPv6 from another's address", v6Frame(to, own, "fd42::3", "fd42::4", unix.IPPROTO_UDP, udp), false},
		{"IPv6 from another MAC", v6Frame(to, stranger, "fd42::2", "fd42::4", unix.IPPROTO_UDP, udp), false},
		{"IPv6 from no address", v6Frame(everybody, own, "::", "ff02::1", unix.IPPROTO_UDP, udp), false},
		{"a further fragment", v6Frame(to, own, "fd42::2", "fd42::4", unix.IPPROTO_FRAGMENT, further), true},
		{"an echo request", v6Frame(to, own, "fd42::2", "fd42::4", unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 0, 0, 0}), true},
		{"groups that it hears", v6Frame(everybody, own, "::", "ff02::16", unix.IPPROTO_ICMPV6, report, unix.IPPROTO_HOPOPTS), true},
		{"groups, from another MAC", v6Frame(everybody, stranger, "::", "ff02::16", unix.IPPROTO_ICMPV6, report, unix.IPPROTO_HOPOPTS), false},

		{"a solicitation", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6, ndMessage(solicitation, "fd42::4", own)), true},
		{"a probe for its own address", v6Frame(everybody, own, "::", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(solicitation, "fd42::2", own)), true},
		{"a probe for its link-local address", v6Frame(everybody, own, "::", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(solicitation, local, own)), true},
		{"a probe for another's", v6Frame(everybody, own, "::", "ff02::1", unix.IPPROTO_ICMPV6, ndMessage(solicitation, "fd42::3", own)), false},
		{"an advertisement", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::2", own)), true},
		{"an advertisement of its link-local address", v6Frame(everybody, own, local, "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, local, own)), true},
		{"an advertisement of another's address", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::3", own)), false},
		{"the same behind an extension", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::3", own), unix.IPPROTO_DSTOPTS), false},
		{"the same behind two", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::3", own), unix.IPPROTO_HOPOPTS, unix.IPPROTO_DSTOPTS), false},
		{"the same in fragments", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_FRAGMENT, first), false},
		{"an advertisement without a target", v6Frame(everybody, own, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			[]byte{advertisement, 0, 0, 0, 0, 0, 0, 0}), false},
		{"an advertisement from another's address", v6Frame(everybody, own, "fd42::3", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::2", own)), false},
		{"a router's advertisement", v6Frame(everybody, own, local, "ff02::1", unix.IPPROTO_ICMPV6, []byte{134, 0, 0, 0, 64, 0, 7, 8}), false},

		{"another protocol", ethernetFrame(to, own, 0x88b5, []byte("hello")), true},
		{"another protocol from another MAC", ethernetFrame(to, stranger, 0x88b5, []byte("hello")), false},
	}
}

func TestAPortSendsOnlyFromItsOwnMACAndAddresses(t *testing.T) {
	k, host := newBridge(t)
	p, inside := newContainer(t, k, host, 1)
	other, inOther := newContainer(t, k, host, 3)
	from, to := packets(t, inside, "eth0"), packets(t, inOther, "eth0")
	for _, f := range framesOf(p.MAC, other.MAC) {
		if got := to.hears(from, f.frame, p.MAC); got != f.may {
			t.Errorf("%s: it arrives: %t, want %t", f.what, got, f.may)
		}
	}
	if link := learnt(host, stranger); link != "" {
		t.Errorf("the bridge has learnt a MAC from %s that is not its own", link)
	}
	trust := p.in("stateless")
	trust.Trusted = true
	must(t, k.Restrict(trust))
	for _, f := range framesOf(p.MAC, other.MAC) {
		if !f.whole() {
			continue // br_netfilter drops it
		}
		if !to.hears(from, f.frame, p.MAC) {
			t.Errorf("%s: it does not arrive from a port that is trusted", f.what)
		}
	}
	if link := learnt(host, stranger); link != p.Name {
		t.Errorf("of a trusted port the bridge has learnt a MAC from %q", link)
	}
}

// learnt is the port at which a bridge has seen a MAC; empty: none.
func learnt(host space, mac net.HardwareAddr) (port string) {
	host.T.Helper()
	host.Do(func() error {
		all, err := netlink.NeighList(0, unix.AF_BRIDGE)
		for _, n := range all {
			if slices.Equal(n.HardwareAddr, mac) {
				link, err := netlink.LinkByIndex(n.LinkIndex)
				if err != nil {
					return err
				}
				port = link.Attrs().Name
			}
		}
		return err
	})
	return port
}

// A container that adds another's address and announces it, or takes another's MAC, gets nothing of the other's.
func TestAContainerGetsNothingOfAnothersByTakingItsAddressOrMAC(t *testing.T) {
	k, host := newBridge(t)
	victim, inVictim := newContainer(t, k, host, 1)
	_, inAttacker := newContainer(t, k, host, 2)
	_, inOther := newContainer(t, k, host, 3)
	for _, a := range victim.Addresses {
		inAttacker.Give("eth0", a.String())
	}
	attack := func() {
		t.Helper()
		from := packets(t, inAttacker, "eth0")
		mac := inAttacker.LinkAt("eth0").Attrs().HardwareAddr
		from.send(arpFrame(mac, mac, 1, "10.42.0.2", "10.42.0.2"))
		from.send(v6Frame(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, "fd42::2", "ff02::1", unix.IPPROTO_ICMPV6,
			ndMessage(advertisement, "fd42::2", mac)))
	}
	for _, neighbour := range []space{inOther, host} {
		for _, a := range victim.Addresses {
			if !hears(t, neighbour, inVictim, a.Addr(), patience) {
				t.Fatalf("%v is not reached at first", a)
			}
		}
	}
	expect := func(when string) {
		t.Helper()
		attack()
		for _, neighbour := range []space{inOther, host} {
			for _, a := range victim.Addresses {
				if mac := resolved(neighbour, a.Addr()); !slices.Equal(mac, victim.MAC) {
					t.Errorf("%s: a neighbour takes %v for %v's, which is %v's", when, a, mac, victim.MAC)
				}
				if hears(t, neighbour, inAttacker, a.Addr(), silence) {
					t.Errorf("%s: what is sent to %v arrives at another", when, a)
				}
				if !hears(t, neighbour, inVictim, a.Addr(), patience) {
					t.Errorf("%s: what is sent to %v does not arrive", when, a)
				}
			}
		}
		if link := learnt(host, victim.MAC); link != victim.Name {
			t.Errorf("%s: the bridge has the MAC at %q", when, link)
		}
	}
	expect("another's address")
	inAttacker.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(link, victim.MAC)
	})
	expect("another's address and MAC")
}

// resolved is the MAC that a namespace has for a neighbour.
func resolved(s space, a netip.Addr) (mac net.HardwareAddr) {
	s.T.Helper()
	s.Do(func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		for _, n := range all {
			if n.IP.Equal(a.AsSlice()) && n.HardwareAddr != nil {
				mac = n.HardwareAddr
			}
		}
		return err
	})
	return mac
}
