package conformance

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
)

// within runs f with a handle of the namespace at a path.
func within(path string, f func(*netlink.Handle) error) error {
	namespace, err := netns.GetFromPath(path)
	if err != nil {
		return err
	}
	defer namespace.Close()
	handle, err := netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	return f(handle)
}

func linksIn(path string) (names []string, err error) {
	err = within(path, func(h *netlink.Handle) error {
		links, err := dump.Whole(func() ([]netlink.Link, error) { return h.LinkList() })
		for _, link := range links {
			names = append(names, link.Attrs().Name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// inside runs f on the container's interface.
func (c *Container) inside(f func(*netlink.Handle, netlink.Link) error) {
	err := within(c.Netns, func(h *netlink.Handle) error {
		link, err := h.LinkByName(c.Interface)
		if err != nil {
			return err
		}
		return f(h, link)
	})
	if err != nil {
		c.run.Fatalf("in %s: %v", c.Netns, err)
	}
}

// outside runs f on the host's end of the container's interface.
func (c *Container) outside(f func(*netlink.Handle, netlink.Link) error) {
	var peer int
	c.inside(func(_ *netlink.Handle, link netlink.Link) error {
		peer = link.Attrs().ParentIndex
		return nil
	})
	err := within(c.run.Netns, func(h *netlink.Handle) error {
		link, err := h.LinkByIndex(peer)
		if err != nil {
			return err
		}
		return f(h, link)
	})
	if err != nil {
		c.run.Fatalf("at the host's end of %s: %v", c.Interface, err)
	}
}

// links names the interfaces in the container.
func (c *Container) links() []string {
	names, err := linksIn(c.Netns)
	if err != nil {
		c.run.Fatalf("%v", err)
	}
	return names
}

// addresses are the global ones of the container's interface. Those that cannot be used yet or any more are in words
// (RFC 4862: tentative, duplicate).
func (c *Container) addresses() (usable []netip.Prefix, unusable []string) {
	c.inside(func(h *netlink.Handle, link netlink.Link) error {
		list, err := dump.Whole(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_ALL) })
		for _, a := range list {
			addr, _ := netip.AddrFromSlice(a.IP)
			bits, _ := a.Mask.Size()
			const tentative, failed = 0x40, 0x08 // IFA_F_TENTATIVE, IFA_F_DADFAILED
			switch {
			case addr.IsLinkLocalUnicast():
			case a.Flags&(tentative|failed) != 0:
				unusable = append(unusable, a.IPNet.String())
			default:
				usable = append(usable, netip.PrefixFrom(addr.Unmap(), bits))
			}
		}
		return err
	})
	return usable, unusable
}

// hasRoute reports whether the container has a route to a destination.
func (c *Container) hasRoute(to netip.Prefix) (has bool) {
	c.inside(func(h *netlink.Handle, link netlink.Link) error {
		routes, err := dump.Whole(func() ([]netlink.Route, error) { return h.RouteList(link, netlink.FAMILY_ALL) })
		for _, route := range routes {
			has = has || sameFamily(route, to) && prefixOf(route.Dst, to) == to
		}
		return err
	})
	return has
}

// prefixOf is a route's destination; the kernel's default route has none.
func prefixOf(n *net.IPNet, like netip.Prefix) netip.Prefix {
	if n == nil {
		return netip.PrefixFrom(like.Addr(), 0)
	}
	addr, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if n.IP.To4() != nil {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits)
}

// foreign puts an interface of the name into the container that is none of the plugin's.
func (c *Container) foreign(name string) {
	err := within(c.Netns, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
	})
	if err != nil {
		c.run.Fatalf("put a foreign interface into %s: %v", c.Netns, err)
	}
}

// removeRoute takes the route to a destination away.
func (c *Container) removeRoute(to netip.Prefix) {
	c.inside(func(h *netlink.Handle, link netlink.Link) error {
		routes, err := dump.Whole(func() ([]netlink.Route, error) { return h.RouteList(link, netlink.FAMILY_ALL) })
		for _, route := range routes {
			if sameFamily(route, to) && prefixOf(route.Dst, to) == to {
				return errors.Join(err, h.RouteDel(&route))
			}
		}
		return errors.Join(err, fmt.Errorf("no route to %v among %v", to, routes))
	})
}

func sameFamily(route netlink.Route, to netip.Prefix) bool {
	return (route.Family == netlink.FAMILY_V4) == to.Addr().Is4()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// removeLink takes the interface out of the container behind the plugin's back.
func (c *Container) removeLink() {
	c.inside(func(h *netlink.Handle, link netlink.Link) error { return h.LinkDel(link) })
}

// dropLink removes a link of the host; absence is success.
func (r *Run) dropLink(name string) {
	err := within(r.Netns, func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		return h.LinkDel(link)
	})
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); err != nil && !absent {
		r.Errorf("remove %s: %v", name, err)
	}
}
