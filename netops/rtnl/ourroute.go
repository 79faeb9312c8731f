package rtnl

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink/nl"
)

// RouteProto is the protocol number of the routes that Berth puts into the host's main table: 'b'. Numbers below 5 are the
// kernel's, and the list of those in use (iproute2's etc/rt_protos) does not have it.
const RouteProto = 98

// Metrics of our routes: a smaller one wins among routes to the same prefix.
const (
	metricOfPort = 64 // to a container of this host
)

// PutPortRoute asks for the host's route to an address of a container behind a link, in place of any other such route.
func PutPortRoute(index int, to netip.Addr) Request {
	put := ourRoute(index, to, fmt.Sprintf("lead to %v", to))
	put.Replacing()
	return put
}

// RemovePortRoute asks for the end of a route that PutPortRoute has put.
func RemovePortRoute(index int, to netip.Addr) Request {
	remove := ourRoute(index, to, fmt.Sprintf("lead to %v no more", to))
	remove.Type, remove.Flags = unix.RTM_DELROUTE, unix.NLM_F_REQUEST|unix.NLM_F_ACK
	return remove
}

func ourRoute(index int, to netip.Addr, what string) Request {
	r := PutRoute(index, netip.PrefixFrom(to, to.BitLen()), netip.Addr{}, what)
	r.Data[0].(*nl.RtMsg).Protocol = RouteProto
	r.AddData(numberAttr(unix.RTA_PRIORITY, metricOfPort))
	return r
}
