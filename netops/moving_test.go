package netops

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// all are addresses that nobody has to renew; those of a "lease" a DHCP client has to, and those of a "link" are for it alone.
func all(words ...string) (addresses []rtnl.Address) {
	for _, word := range words {
		kind, prefix, special := strings.Cut(word, " ")
		if !special {
			prefix = word
		}
		a := rtnl.Address{Prefix: netip.MustParsePrefix(prefix)}
		switch kind {
		case "lease":
			a.Lifetime = make([]byte, 16) // struct ifa_cacheinfo
			binary.NativeEndian.PutUint32(a.Lifetime[4:], 600)
		case "link":
			a.Scope = unix.RT_SCOPE_LINK
		}
		addresses = append(addresses, a)
	}
	return addresses
}

func TestWhatOfANICMovesToItsBridgeAndWhatStays(t *testing.T) {
	const port = true
	for name, c := range map[string]struct {
		isPort     bool
		nic, there []rtnl.Address
		moves      string
	}{
		"a NIC gives all that it has":                     {!port, all("192.0.2.11/24", "198.51.100.7/24"), nil, "192.0.2.11/24 198.51.100.7/24"},
		"but what floats over one of its subnets":         {!port, all("192.0.2.11/24", "192.0.2.100/32"), nil, "192.0.2.11/24"},
		"one that floats over nothing moves":              {!port, all("192.0.2.100/32"), nil, "192.0.2.100/32"},
		"one that floats over another's subnet moves":     {!port, all("192.0.2.11/24", "203.0.113.5/32"), nil, "192.0.2.11/24 203.0.113.5/32"},
		"a lease is no floating address":                  {!port, all("192.0.2.11/24", "lease 192.0.2.9/32"), nil, "192.0.2.11/24 192.0.2.9/32"},
		"what is for the link alone makes no subnet":      {!port, all("link 192.0.2.11/24", "192.0.2.9/32"), nil, "192.0.2.11/24 192.0.2.9/32"},
		"single addresses make no subnet":                 {!port, all("192.0.2.9/32", "192.0.2.8/32"), nil, "192.0.2.9/32 192.0.2.8/32"},
		"a port gives its renewed lease":                  {port, all("lease 192.0.2.11/24"), all("lease 192.0.2.11/24"), "192.0.2.11/24"},
		"and its new one":                                 {port, all("lease 192.0.2.12/24"), all("lease 192.0.2.11/24"), "192.0.2.12/24"},
		"what others add to a port in its subnet stays":   {port, all("192.0.2.12/24"), all("192.0.2.11/24"), ""},
		"in no subnet of the bridge's it is the bridge's": {port, all("198.51.100.7/24"), all("192.0.2.11/24"), "198.51.100.7/24"},
		"what floats over the bridge's subnet stays":      {port, all("192.0.2.100/32"), all("192.0.2.11/24"), ""},
		// One that the bridge has already tells of it.
		"a move that was cut short goes on": {port, all("192.0.2.11/24", "192.0.2.7/24"), all("192.0.2.11/24"), "192.0.2.11/24 192.0.2.7/24"},
		"and what floats stays then, too":   {port, all("192.0.2.11/24", "192.0.2.100/32"), all("192.0.2.11/24"), "192.0.2.11/24"},
	} {
		move, _ := moving(c.isPort, c.nic, nil, c.there)
		var got []string
		for _, a := range move {
			got = append(got, a.Prefix.String())
		}
		if strings.Join(got, " ") != c.moves {
			t.Errorf("%s: %v moves, want %s", name, got, c.moves)
		}
	}
}

func TestTheKernelsRouteOfWhatStaysOnANICStaysWithIt(t *testing.T) {
	subnet, far := rtnl.Route{To: netip.MustParsePrefix("192.0.2.0/24")}, rtnl.Route{To: netip.MustParsePrefix("198.51.100.0/24")}
	via := rtnl.Route{To: netip.MustParsePrefix("192.0.2.0/24"), Via: netip.MustParseAddr("192.0.2.1")}
	there := all("192.0.2.11/24")
	for name, c := range map[string]struct {
		nic, there []rtnl.Address
		routes     []rtnl.Route
		want       int
	}{
		"of what moves":                   {all("192.0.2.11/24"), nil, []rtnl.Route{subnet, far}, 2},
		"of what stays":                   {all("192.0.2.12/24"), there, []rtnl.Route{subnet, far}, 1},
		"over a gateway somebody made it": {all("192.0.2.12/24"), there, []rtnl.Route{via}, 1},
		"of both":                         {all("192.0.2.12/24", "lease 192.0.2.13/24"), there, []rtnl.Route{subnet}, 1},
	} {
		if _, got := moving(len(c.there) > 0, c.nic, c.routes, c.there); len(got) != c.want {
			t.Errorf("%s: routes %v move, want %d of %v", name, got, c.want, c.routes)
		}
	}
}
