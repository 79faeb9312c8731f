package netops

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// feedRoutes listens for the ends of the routes that are ours, over a socket of its own: what others do to a host's routes, which may
// be many, is filtered out by the kernel, and what is lost here costs nothing but a comparison.
func (m *monitor) feedRoutes() error {
	lost := func() { m.suspect(m.changed(0)) }
	if err := m.feed(unix.NETLINK_ROUTE, m.readRoutes, lost, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE); err != nil {
		return err
	}
	return m.feeds[len(m.feeds)-1].OnlyEndsOfOwnRoutes()
}

func (m *monitor) readRoutes(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, message := range messages {
		if o, own := rtnl.ParseOwnRoute(message.Data); own && message.Header.Type == unix.RTM_DELROUTE {
			m.suspect(!o.Via.IsValid() && m.changed(o.Index)) // a link route of a bridge
			o.Index = 0
			m.suspect(m.gone(o))
		}
	}
}
