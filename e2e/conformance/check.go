package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
)

// spoils is a CHECK row: what is done to a sound attachment has to make CHECK fail.
func spoils(promise string, role Role, spoil func(*Run, *Container)) Row {
	return Row{Promise: promise, Source: "spec", Verb: "CHECK", Role: role, Prove: func(r *Run) {
		c := r.container()
		c.add()
		r.succeeds(c.exec("CHECK"), true)
		spoil(r, c)
		r.fails(c.exec("CHECK"), nil)
	}}
}

// spoilsOutside is such a row for the host's end of the attachment. A plugin may put that back itself, as quickly as it
// likes: a CHECK that succeeds is right if the end is sound by then, but one before that has to fail.
func spoilsOutside(promise string, spoil func(*netlink.Handle, netlink.Link) error, sound func(netlink.Link) bool) Row {
	const tries = 20
	return Row{Promise: promise, Source: "spec", Verb: "CHECK", Role: Interface, Prove: func(r *Run) {
		c := r.container()
		c.add()
		r.succeeds(c.exec("CHECK"), true)
		for range tries {
			c.outside(spoil)
			o := c.exec("CHECK")
			putBack := false
			if o.Code == 0 {
				c.outside(func(_ *netlink.Handle, link netlink.Link) error { putBack = sound(link); return nil })
			}
			if !putBack {
				r.fails(o, nil)
				return
			}
		}
		r.Fatalf("%d times it has put back what was spoiled, and CHECK has never told", tries)
	}}
}

var checkRows = []Row{
	{Promise: "CHECK right after an ADD succeeds, without output, and again", Source: "spec", Verb: "CHECK", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.add()
		for range 3 {
			r.succeeds(c.exec("CHECK"), true)
		}
		r.held(before, 1)
	}},
	{Promise: "the plugin must consult the prevResult: without one it cannot", Source: "spec", Verb: "CHECK", Role: Interface,
		Prove: func(r *Run) {
			c := r.container()
			c.add()
			r.fails(c.exec("CHECK", config("prevResult", nil)), nil, "prevResult")
		}},
	{Promise: "a container that was never ADDed does not pass", Source: "spec", Verb: "CHECK", Prove: func(r *Run) {
		c, other := r.container(), r.container()
		foreign := other.add()
		r.fails(c.exec("CHECK", config("prevResult", foreign.raw)), nil)
	}},
	{Promise: "the plugin should return an error if an IP reservation is missing: after its DEL", Source: "spec", Verb: "CHECK",
		Prove: func(r *Run) {
			c := r.container()
			c.add()
			c.del()
			r.fails(c.exec("CHECK"), nil)
		}},
	spoils("… if an interface is missing", Interface, func(_ *Run, c *Container) { c.removeLink() }),
	spoils("… if an address is missing", Interface, func(_ *Run, c *Container) {
		c.inside(func(h *netlink.Handle, link netlink.Link) error {
			return h.AddrDel(link, &netlink.Addr{IPNet: ipNet(c.result.IPs[0].Address)})
		})
	}),
	spoils("… if the last of the addresses is missing", Interface, func(_ *Run, c *Container) {
		c.inside(func(h *netlink.Handle, link netlink.Link) error {
			return h.AddrDel(link, &netlink.Addr{IPNet: ipNet(c.result.IPs[len(c.result.IPs)-1].Address)})
		})
	}),
	{Promise: "… if a route is missing", Source: "spec", Verb: "CHECK", Role: Interface, Prove: func(r *Run) {
		c := r.container()
		for _, route := range c.add().Routes {
			c := r.container()
			c.add()
			c.removeRoute(route.Dst)
			r.fails(c.exec("CHECK"), nil)
		}
	}},
	spoils("… or in an invalid state: the interface is down", Interface, func(_ *Run, c *Container) {
		c.inside(func(h *netlink.Handle, link netlink.Link) error { return h.LinkSetDown(link) })
	}),
	spoils("… the hardware address differs", Interface, func(_ *Run, c *Container) {
		c.inside(func(h *netlink.Handle, link netlink.Link) error {
			return h.LinkSetHardwareAddr(link, []byte{0x02, 0, 0, 0, 0, 7})
		})
	}),
	spoilsOutside("an error if the container is generally unreachable: the host's end is down",
		func(h *netlink.Handle, link netlink.Link) error { return h.LinkSetDown(link) },
		func(link netlink.Link) bool { return link.Attrs().Flags&net.FlagUp != 0 }),
	spoilsOutside("… the host's end is out of its bridge",
		func(h *netlink.Handle, link netlink.Link) error { return h.LinkSetNoMaster(link) },
		func(link netlink.Link) bool { return link.Attrs().MasterIndex != 0 }),
	{Promise: "consult the prevResult: one with another address does not pass", Source: "spec", Verb: "CHECK", Prove: func(r *Run) {
		c, other := r.container(), r.container()
		own, foreign := c.add(), other.add()
		r.fails(c.exec("CHECK", config("prevResult", r.swapped(own, foreign.addresses()[0]))), nil)
	}},
	{Promise: "consult the prevResult: one with another sandbox does not pass", Source: "spec", Verb: "CHECK", Role: Interface,
		Prove: func(r *Run) {
			c, other := r.container(), r.container()
			own := c.add()
			r.fails(c.exec("CHECK", config("prevResult", own.replaced(c.Netns, other.Netns))), nil)
		}},
	{Promise: "all parameters must be the same as those of the ADD: another container's namespace does not pass", Source: "spec",
		Verb: "CHECK", Role: Interface, Prove: func(r *Run) {
			c, other := r.container(), r.container()
			c.add()
			r.fails(c.exec("CHECK", env("CNI_NETNS", other.Netns)), nil)
		}},
	{Promise: "the plugin must allow for a later chained plugin to have modified networking resources", Source: "spec", Verb: "CHECK",
		Role: Interface, Prove: func(r *Run) {
			c := r.container()
			result := c.add()
			more := netip.MustParsePrefix("192.0.2.0/24")
			c.inside(func(h *netlink.Handle, link netlink.Link) error {
				route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(more), Scope: netlink.SCOPE_LINK}
				if err := h.RouteAdd(route); err != nil {
					return fmt.Errorf("add a route: %w", err)
				}
				return h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.51.100.7/32"))})
			})
			interfaces, _ := result.raw["interfaces"].([]any)
			chained := c.result.replaced("\x00", "")
			chained["interfaces"] = append(interfaces, map[string]any{"name": "tap7", "mac": "02:00:00:00:00:08", "sandbox": c.Netns})
			r.succeeds(c.exec("CHECK", config("prevResult", chained)), true)
		}},
	{Promise: "an error if an external dependency is missing, such as a daemon required", Source: "spec", Verb: "CHECK", Needs: hasAway,
		Prove: func(r *Run) {
			c := r.container()
			c.add()
			r.without(func() { r.fails(c.exec("CHECK"), nil) })
			r.succeeds(c.exec("CHECK"), true)
		}},
}

func hasAway(s *Subject) bool { return s.Away != nil }

// without runs f while what the plugin depends on is away.
func (r *Run) without(f func()) {
	back, err := r.Away(r)
	if err != nil {
		r.Fatalf("%v", err)
	}
	r.guard(f)
	if err := back(); err != nil {
		r.Fatalf("%v", err)
	}
}

// swapped is a result with another address in place of its own of that family.
func (r *Run) swapped(result *Result, other netip.Addr) map[string]any {
	for _, own := range result.addresses() {
		if own.Is4() == other.Is4() {
			return result.replaced(`"`+own.String()+"/", `"`+other.String()+"/")
		}
	}
	r.Fatalf("%v has no address of %v's family", result.addresses(), other)
	return nil
}

// replaced is a copy of the result's JSON with one text in place of another.
func (res *Result) replaced(old, new string) map[string]any {
	text, _ := json.Marshal(res.raw) // it was decoded from JSON
	var copied map[string]any
	_ = json.Unmarshal([]byte(strings.ReplaceAll(string(text), old, new)), &copied)
	return copied
}
