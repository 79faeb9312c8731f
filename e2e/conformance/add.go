package conformance

import (
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// decode reads one JSON object, and nothing after it.
func (r *Run) decode(text string) map[string]any {
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		r.Fatalf("%q is not one JSON object: %v", text, err)
	}
	return object
}

var addRows = []Row{
	{Promise: "the result has the cniVersion supplied on input", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		result := r.container().add()
		if result.CNIVersion != r.Version {
			r.Errorf("cniVersion %q: want %q", result.CNIVersion, r.Version)
		}
		for _, ip := range result.IPs {
			want := ""
			if r.Version < "1.0.0" {
				want = map[bool]string{true: "4", false: "6"}[ip.Address.Addr().Is4()]
			}
			if ip.Version != want {
				r.Errorf("ips[].version of %v is %q: want %q", ip.Address, ip.Version, want)
			}
		}
	}},
	{Promise: "ips: assigned by this attachment, in CIDR notation, one of each family that the network has", Source: "spec", Verb: "ADD",
		Prove: func(r *Run) {
			result := r.container().add()
			for _, family := range r.Families {
				if n := len(slices.DeleteFunc(result.addresses(), func(a netip.Addr) bool { return a.Is4() != (family == 4) })); n != 1 {
					r.Errorf("%d addresses of IPv%d: want 1", n, family)
				}
			}
			if len(r.Families) > 0 && len(result.IPs) != len(r.Families) {
				r.Errorf("ips %v: want one of each of IPv%v", result.addresses(), r.Families)
			}
			for _, ip := range result.IPs {
				if ip.Address.IsSingleIP() {
					r.Errorf("address %v has not its subnet's prefix length", ip.Address)
				}
				if ip.Gateway.IsValid() && !ip.Address.Masked().Contains(ip.Gateway) {
					r.Errorf("gateway %v is not in the subnet of %v", ip.Gateway, ip.Address)
				}
			}
		}},
	{Promise: "create the interface defined by CNI_IFNAME inside the container at CNI_NETNS: it is up, with the addresses and " +
		"routes of the result", Source: "spec", Verb: "ADD", Role: Interface, Prove: func(r *Run) {
		c := r.container()
		c.Interface = "net-7"
		result := c.add()
		usable, unusable := c.addresses()
		for _, ip := range result.IPs {
			if !slices.Contains(usable, ip.Address) {
				r.Errorf("%v is not among the usable addresses %v (unusable: %v)", ip.Address, usable, unusable)
			}
		}
		for _, route := range result.Routes {
			if !c.hasRoute(route.Dst) {
				r.Errorf("no route to %v", route.Dst)
			}
		}
		c.inside(func(_ *netlink.Handle, link netlink.Link) error {
			if link.Attrs().Flags&net.FlagUp == 0 {
				r.Errorf("the interface is down")
			}
			return nil
		})
	}},
	{Promise: "interfaces: all interfaces created by the attachment, including any host-level ones; sandbox is the value of " +
		"CNI_NETNS; ips[].interface is an index of them", Source: "spec", Verb: "ADD", Role: Interface, Prove: func(r *Run) {
		c := r.container()
		result := c.add()
		inside, host := 0, 0
		for _, i := range result.Interfaces {
			if _, err := net.ParseMAC(i.MAC); err != nil {
				r.Errorf("interface %s has no MAC: %q", i.Name, i.MAC)
			}
			switch {
			case i.Sandbox == "":
				host++
			case i.Sandbox == c.Netns && i.Name == c.Interface:
				inside++
			default:
				r.Errorf("interface %s is in sandbox %q: want %s in %s", i.Name, i.Sandbox, c.Interface, c.Netns)
			}
		}
		if inside != 1 || host == 0 {
			r.Errorf("interfaces %+v: want one in the container, and the host's", result.Interfaces)
		}
		for _, ip := range result.IPs {
			if ip.Interface == nil || *ip.Interface < 0 || *ip.Interface >= len(result.Interfaces) ||
				result.Interfaces[*ip.Interface].Sandbox != c.Netns {
				r.Errorf("ips[].interface of %v is not the container's", ip.Address)
			}
		}
	}},
	{Promise: "delegated IPAM plugins must return an abbreviated success object: no interfaces, no ips[].interface", Source: "spec",
		Verb: "ADD", Role: IPAM, Prove: func(r *Run) {
			result := r.container().add()
			if _, has := result.raw["interfaces"]; has {
				r.Errorf("the result has interfaces: %v", result.raw["interfaces"])
			}
			for _, ip := range result.IPs {
				if ip.Interface != nil {
					r.Errorf("ips[].interface of %v is %d", ip.Address, *ip.Interface)
				}
			}
		}},
	{Promise: "if an interface of the requested name already exists in the container, the plugin MUST return with an error; nothing " +
		"is left of the failed ADD", Source: "spec", Verb: "ADD", Role: Interface, Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		c.foreign(c.Interface)
		links := c.links()
		r.fails(c.exec("ADD"), nil, c.Interface)
		r.held(before, 0)
		r.succeeds(c.exec("DEL"), true)
		if after := c.links(); !slices.Equal(links, after) {
			r.Errorf("after a failed ADD and its DEL the container has the links %v: want %v", after, links)
		}
	}},
	{Promise: "a second ADD without a DEL neither leaks nor gives a second address", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		c, before := r.container(), r.holds()
		first := c.add()
		if o := c.exec("ADD"); o.Code != 0 {
			r.fails(o, nil)
		} else if again := r.result(o); !slices.Equal(first.addresses(), again.addresses()) {
			r.Errorf("ADD again gives %v: want %v or an error", again.addresses(), first.addresses())
		}
		r.held(before, 1)
		c.del()
		r.held(before, 0)
	}},
	{Promise: "a container ID may be added to a network more than once if each addition has a different interface name", Source: "spec",
		Verb: "ADD", Prove: func(r *Run) {
			c := r.container()
			second := c.sibling("eth1")
			a, b := c.add(), second.add()
			if a.addresses()[0] == b.addresses()[0] {
				r.Errorf("both interfaces have %v", a.addresses())
			}
			before := r.holds()
			c.del()
			r.held(before, -1)
			if r.Role == Interface && !slices.Contains(second.links(), "eth1") {
				r.Errorf("the DEL of eth0 took eth1 too")
			}
		}},
	{Promise: "a supplied prevResult MUST be handled, by passing it through or modifying it", Source: "spec", Verb: "ADD", Role: Interface,
		Prove: func(r *Run) {
			c, other := r.container(), r.container()
			former := other.add()
			before := r.holds()
			o := c.exec("ADD", config("prevResult", former.raw))
			if o.Code != 0 { // to make the interface only as the first of a chain is another way of handling it
				r.fails(o, []int{2, 7}, "prevResult")
				r.held(before, 0)
				return
			}
			if c.result = r.result(o); !slices.Contains(c.result.addresses(), former.addresses()[0]) {
				r.Errorf("the result has the addresses %v: want %v of prevResult too", c.result.addresses(), former.addresses())
			}
		}},
	{Promise: "plugins must handle being executed concurrently across different containers", Source: "spec", Verb: "ADD", Prove: func(r *Run) {
		containers := make([]*Container, 8)
		outcomes := make([]Outcome, len(containers))
		var all sync.WaitGroup
		for i := range containers {
			containers[i] = r.container()
			all.Go(func() { outcomes[i] = containers[i].exec("ADD") })
		}
		all.Wait()
		owners := map[netip.Addr]string{}
		for i, c := range containers {
			c.result = r.result(outcomes[i])
			for _, addr := range c.result.addresses() {
				if owner := owners[addr]; owner != "" {
					r.Errorf("%s and %s both have %v", owner, c.ID, addr)
				}
				owners[addr] = c.ID
			}
		}
		for i, c := range containers {
			all.Go(func() { outcomes[i] = c.exec("DEL") })
		}
		all.Wait()
		for _, o := range outcomes {
			r.succeeds(o, true)
		}
	}},
	{Promise: "what ADD answers can be used at once: a connection from one container to the next opens without a wait", Source: "spec",
		Verb: "ADD", Role: Interface, Prove: func(r *Run) {
			listener := r.container()
			for _, ip := range listener.add().IPs {
				c := r.container()
				var from netip.Addr
				for _, own := range c.add().addresses() {
					if own.Is4() == ip.Address.Addr().Is4() {
						from = own
					}
				}
				if err := connect(c.Netns, from, listener.Netns, ip.Address.Addr()); err != nil {
					r.Errorf("from %v to %v: %v", from, ip.Address.Addr(), err)
				}
			}
		}},
}

// connect opens a TCP connection from one namespace to another, each end bound to its address at the first attempt: an
// address that is still tentative cannot be bound.
func connect(fromNetns string, from netip.Addr, toNetns string, to netip.Addr) error {
	var listener net.Listener
	err := sandbox.Within(toNetns, func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to, 7).String())
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	return sandbox.Within(fromNetns, func() error {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: patience}
		connection, err := dialer.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		return connection.SetDeadline(time.Now()) // it is open: that is all
	})
}
