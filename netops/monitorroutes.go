package netops

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// feedRoutes listens for the ends of routes, rules and neighbours that are ours, over a socket of its own: what others do to a host's
// routes, which may be many, is filtered out by the kernel, and what is lost here costs nothing but a comparison.
func (m *monitor) feedRoutes() error {
	lost := func() { m.suspect(m.changed(0)) }
	err := m.feed(unix.NETLINK_ROUTE, m.readRoutes, lost, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEIGH)
	if err != nil {
		return err
	}
	return m.feeds[len(m.feeds)-1].OnlyEnds()
}

func (m *monitor) readRoutes(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, message := range messages {
		switch message.Header.Type {
		case unix.RTM_DELROUTE:
			if o, own := rtnl.ParseOwnRoute(message.Data); own {
				m.suspect(!o.Via.IsValid() && m.changed(o.Index)) // a link route of a bridge
				m.suspect(m.routes.gone(o))
			}
		case unix.RTM_DELRULE:
			if r, own := rtnl.ParseOwnRule(message.Data); own {
				m.suspect(m.routes.ruleGone(r))
			}
		case unix.RTM_DELNEIGH:
			m.suspect(m.routes.neighbourGone(rtnl.ParseNeighbour(message.Data)))
		}
	}
}
