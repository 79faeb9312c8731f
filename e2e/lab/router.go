package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
)

// The router is the namespace with the switch: it has an address in the switch's network and in that of each node apart, forwards between
// them, drops what comes from where it would not answer (rp_filter), and knows no way to any pool.

// strictPaths has a host drop what comes from where it would not answer. The nodes do so, too, where there is a router.
const strictPaths = "ipv4/conf/all/rp_filter"

// setRouting has the router forward, or no more.
func setRouting(on bool) error {
	value := map[bool]string{true: "1", false: "0"}[on]
	var errs []error
	for _, key := range []string{strictPaths, "ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		errs = append(errs, set(key, value))
	}
	return errors.Join(errs...)
}

// set writes a setting of the network namespace.
func set(key, value string) error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644) }

// placeOf gives the addresses of a node's NIC, of each family: on the switch, or in a network that nobody but the router shares.
func placeOf(number int, apart bool) (four, six netip.Addr) {
	network := 0
	if apart {
		network = number
	}
	return netip.AddrFrom4([4]byte{10, 200, byte(network), byte(10 + number)}),
		netip.MustParseAddr(fmt.Sprintf("fd00:c8:0:%d::%d", network, 10+number))
}

// routerOf is the router's address in the network of a machine's address.
func routerOf(address netip.Addr) netip.Prefix {
	if address.Is4() {
		bytes := address.As4()
		bytes[3] = 1
		return netip.PrefixFrom(netip.AddrFrom4(bytes), 24)
	}
	bytes := address.As16()
	clear(bytes[8:])
	bytes[15] = 1
	return netip.PrefixFrom(netip.AddrFrom16(bytes), 64)
}

// apart reports whether an address is of a network that is not the switch's.
func apart(address netip.Addr) bool {
	router := routerOf(address)
	return router != netip.MustParsePrefix(switchOwn) && router != netip.MustParsePrefix(switchOwnV6)
}

// plugIntoRouter gives the router its addresses at a cable. They stay while the cable is pulled.
func plugIntoRouter(port string, machine []netip.Addr) error {
	link, err := netlink.LinkByName(port)
	if err != nil {
		return err
	}
	err = set("ipv6/conf/"+port+"/keep_addr_on_down", "1")
	for _, address := range machine {
		err = errors.Join(err, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(routerOf(address)), Flags: ifaNoDAD}))
	}
	return err
}
