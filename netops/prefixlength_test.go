package netops

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// held are the addresses of a link, but for link-local ones.
func held(s space, link string) (all []netip.Prefix) {
	s.T.Helper()
	index := s.LinkAt(link).Attrs().Index
	s.Do(func() error {
		sock, err := rtnl.OpenSocket()
		if err != nil {
			return err
		}
		defer sock.Close()
		found, err := rtnl.AddressesOf(sock, unix.AF_UNSPEC, index)
		for _, a := range found {
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				all = append(all, a.Prefix)
			}
		}
		return err
	})
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// longer are prefixes of the same addresses, each one bit shorter: their CIDR has grown.
func longer(all []netip.Prefix) (grown []netip.Prefix) {
	for _, p := range all {
		grown = append(grown, netip.PrefixFrom(p.Addr(), p.Bits()-1))
	}
	return grown
}

func TestAnUpdateGivesAddressesAnotherPrefixLengthAndKeepsTheirRoutes(t *testing.T) {
	k, _ := newBridge(t)
	from, inside := newContainer(t, k, 1)
	from.Routes = nil
	to, unknown := from, from
	to.Addresses, unknown.Addresses = longer(from.Addresses), nil
	before := mainTable(inside)
	for range 2 {
		must(t, k.Update(to, from))
		if got := held(inside, "eth0"); !slices.Equal(got, to.Addresses) {
			t.Errorf("the addresses are %v, want %v", got, to.Addresses)
		}
		must(t, k.Check(to))
	}
	if err := k.Check(from); err == nil {
		t.Error("a container with other prefix lengths is as it was made")
	}
	must(t, k.Update(from, unknown)) // what it had is not known
	if got := held(inside, "eth0"); !slices.Equal(got, from.Addresses) {
		t.Errorf("and back the addresses are %v, want %v", got, from.Addresses)
	}
	expectTable(t, inside, "and back", before...)
}

func TestAnAddressThatHasLeftIsNotGivenAgainWithAnotherPrefixLength(t *testing.T) {
	k, _ := newBridge(t)
	from, inside := newContainer(t, k, 1)
	inside.Do(func() error { return netlink.AddrDel(named(t, "eth0"), addr(from.Addresses[0].String())) })
	to := from
	to.Addresses = longer(from.Addresses)
	err := k.Update(to, from)
	if _, is := errors.AsType[*RearrangedError](err); !is {
		t.Errorf("the error is %v", err)
	}
	if got := held(inside, "eth0"); !slices.Equal(got, from.Addresses[1:]) {
		t.Errorf("the addresses are %v", got)
	}
}

func TestABridgesGatewayGetsAnotherPrefixLengthAndOthersAddressesStay(t *testing.T) {
	k, host := newHost(t)
	b := Bridge{Name: "berth0", Addresses: prefixes("10.42.1.1/24", "fd42::1/64")}
	_, err := k.EnsureBridge(b)
	must(t, err)
	host.Give("berth0", "10.42.1.7/24", "192.0.2.1/24")
	b.Addresses = prefixes("10.42.1.1/23", "fd42::1/48")
	for range 2 {
		_, err = k.EnsureBridge(b)
		must(t, err)
		want := prefixes("10.42.1.1/23", "10.42.1.7/24", "192.0.2.1/24", "fd42::1/48")
		if got := held(host, "berth0"); !slices.Equal(got, want) {
			t.Errorf("the addresses are %v, want %v", got, want)
		}
	}
}
