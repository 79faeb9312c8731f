package netops

import (
	"net/netip"
	"slices"
	"testing"
)

// TestAGatewayThatNoSubnetContainsIsReachedOverTheLink is a router with an address like 169.254.1.1 or fe80::1, which the
// host itself is here: it has to find the containers without an address of their subnet.
func TestAGatewayThatNoSubnetContainsIsReachedOverTheLink(t *testing.T) {
	k, host := newHost(t)
	bridge := Bridge{Name: "berth0", Addresses: prefixes("169.254.1.1/32", "fe80::1/64"), Subnets: prefixes("10.42.0.0/16", "fd42::/64")}
	for range 2 {
		_, err := k.EnsureBridge(bridge)
		must(t, err)
	}
	p, inside := newPort(t, 1)
	p.OnLink = true
	p.Gateways = []netip.Addr{netip.MustParseAddr("169.254.1.1"), netip.MustParseAddr("fe80::1")}
	_, err := k.Attach(p)
	must(t, err)
	must(t, k.Join(member(p, "stateless")))
	must(t, k.Check(p))
	expectTable(t, inside, "as attached", append(slices.Clone(subnets),
		"0.0.0.0/0 via 169.254.1.1 over eth0 in 254", "::/0 via fe80::1 over eth0 in 254")...)
	for _, a := range p.Addresses {
		if !hears(t, host, inside, a.Addr(), patience) {
			t.Errorf("%v hears nothing from the host", a)
		}
	}
	host.Give("lo", "192.0.2.7/32", "2001:db8::7/128")
	for _, beyond := range []string{"192.0.2.7", "2001:db8::7"} {
		if !hears(t, inside, host, netip.MustParseAddr(beyond), patience) {
			t.Errorf("%s, which the gateway leads to, hears nothing from the container", beyond)
		}
	}
	to := p
	to.Gateways = []netip.Addr{netip.MustParseAddr("169.254.1.2"), netip.MustParseAddr("2001:db8:1::1")}
	must(t, k.Update(to, p))
	must(t, k.Check(to))
	none := to
	none.Gateways = nil
	must(t, k.Update(none, to))
	expectTable(t, inside, "without gateways", subnets...)
}
