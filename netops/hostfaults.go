package netops

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/netops/l2"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
	"golang.org/x/sys/unix"
)

// A HostFault is what of the host is not as a bridge and its ports need it.
type HostFault struct {
	Kind   string // one of HostFaultKinds
	Text   string // what is wrong
	Person string // what a person is to do; empty: EnsureBridge and MendPorts put it right
}

// HostFaultKinds are all kinds of HostFaults.
var HostFaultKinds = []string{
	"bridge-gone", "bridge-taken", "bridge-down", "bridge-full", "uplink-gone", "uplink-renamed", "uplink-out", "uplink-elsewhere",
	"uplink-down", "uplink-address", "lease-not-renewed", "gateway-gone", "masquerade-gone", "forwarding-off", "port-off", "port-elsewhere",
	"port-down",
}

// nearlyFull is from how many ports on a bridge is said to be filling up.
const nearlyFull = 1000

// HostFaults compares the host with what a bridge and its ports are to be. A port that does not exist is no fault of the
// host's. What is wrong is looked at anew by the next EnsureBridge.
func (k *Kernel) HostFaults(b Bridge, ports []string) ([]HostFault, error) {
	k.bridges.looking(b.Name)
	x := examination{k: k, want: b}
	err := k.host.With(func(s *rtnl.Socket) error { return x.run(s, ports) })
	if err == nil {
		err = rtnl.Within(k.home, x.forwarding)
	}
	if err == nil {
		err = x.masquerading()
	}
	if err != nil {
		return nil, fmt.Errorf("netops: look at bridge %s: %w", b.Name, err)
	}
	if len(x.found) > 0 {
		k.bridges.doubt(b.Name)
	}
	return x.found, nil
}

// An examination is of one bridge.
type examination struct {
	k      *Kernel
	want   Bridge
	byName map[string]rtnl.Link
	names  map[int]string
	bridge rtnl.Link
	found  []HostFault
}

func (x *examination) add(kind, format string, args ...any) {
	x.found = append(x.found, HostFault{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// leave adds a fault that a person has to mend.
func (x *examination) leave(kind, person, format string, args ...any) {
	x.found = append(x.found, HostFault{Kind: kind, Text: fmt.Sprintf(format, args...), Person: person})
}

func (x *examination) run(s *rtnl.Socket, ports []string) error {
	all, err := rtnl.Links(s)
	if err != nil {
		return err
	}
	x.byName, x.names = map[string]rtnl.Link{}, map[int]string{}
	for _, l := range all {
		x.byName[l.Name], x.names[l.Index] = l, l.Name
	}
	name := x.want.Name
	is, there := x.byName[name]
	switch {
	case !there:
		x.add("bridge-gone", "bridge %s does not exist: somebody has deleted it", name)
		return nil
	case is.Kind != "bridge":
		x.leave("bridge-taken", fmt.Sprintf("remove the link %[1]s, or rename it: ip link delete %[1]s", name),
			"the link %s is no bridge: it is of kind %q", name, is.Kind)
		return nil
	}
	x.bridge = is
	if !is.Up() {
		x.add("bridge-down", "bridge %s is down", name)
	}
	if err := x.addresses(s); err != nil {
		return err
	}
	if err := x.uplink(s); err != nil {
		return err
	}
	x.ports(ports)
	x.fullness(all)
	return nil
}

func (x *examination) addresses(s *rtnl.Socket) error {
	had, err := holdingsOf(s, x.bridge)
	if err != nil {
		return err
	}
	for _, want := range x.want.Addresses {
		if !slices.ContainsFunc(had.addresses, func(a rtnl.Address) bool { return a.Prefix == want }) {
			x.add("gateway-gone", "bridge %s lacks %v, its containers' gateway", x.want.Name, want)
		}
	}
	for _, a := range had.addresses {
		x.lease(a)
	}
	if len(x.found) == 0 {
		x.k.bridges.remember(x.want.Name, had)
	}
	return nil
}

// ports looks at those that should be on the bridge.
func (x *examination) ports(ports []string) {
	var off, down, elsewhere []string
	for _, name := range ports {
		p, there := x.byName[name]
		switch {
		case !there:
		case p.Master == 0:
			off = append(off, name)
		case p.Master != x.bridge.Index:
			elsewhere = append(elsewhere, fmt.Sprintf("%s (on %s)", name, x.names[p.Master]))
		case !p.Up():
			down = append(down, name)
		}
	}
	if len(off) > 0 {
		x.add("port-off", "%s off bridge %s: %s", counted(off), x.want.Name, few(off))
	}
	if len(down) > 0 {
		x.add("port-down", "%s down on bridge %s: %s", counted(down), x.want.Name, few(down))
	}
	if len(elsewhere) > 0 {
		x.leave("port-elsewhere", fmt.Sprintf("put each back if that was not meant: ip link set PORT master %s", x.want.Name),
			"%s on other bridges than %s: %s", counted(elsewhere), x.want.Name, few(elsewhere))
	}
}

func counted(names []string) string {
	if len(names) == 1 {
		return "1 container's port is"
	}
	return fmt.Sprintf("%d containers' ports are", len(names))
}

// few names the first of many.
func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

func (x *examination) fullness(all []rtnl.Link) {
	n := 0
	for _, l := range all {
		if l.Master == x.bridge.Index {
			n++
		}
	}
	if n >= nearlyFull {
		x.leave("bridge-full", "give some of this node's containers another bridge (a network with another \"bridge\"), or spread them "+
			"over more nodes",
			"bridge %s has %d ports, and the kernel lets a bridge have %d", x.want.Name, n, maxPorts)
	}
}

// forwarding runs in the host's namespace.
func (x *examination) forwarding() error {
	seen := map[string]bool{}
	for _, p := range slices.Concat(x.want.Addresses, x.want.Masquerade) {
		base, name := sysctl.V4, "IPv4"
		if p.Addr().Is6() {
			base, name = sysctl.V6, "IPv6"
		}
		for _, of := range [...]string{"all", x.want.Name} {
			is, err := sysctl.Read(base, of, "forwarding")
			if errors.Is(err, fs.ErrNotExist) {
				continue // the bridge is gone
			}
			if err != nil {
				return err
			}
			if is == "0" && !seen[name] {
				x.add("forwarding-off", "the host forwards no %s packets of bridge %s: %s/%s/forwarding is 0", name, x.want.Name, base, of)
				seen[name] = true
			}
		}
	}
	return nil
}

func (x *examination) masquerading() error {
	for _, pool := range x.want.Masquerade {
		is, err := x.k.Masquerades(pool.Masked())
		if err != nil {
			return err
		}
		if !is {
			x.add("masquerade-gone", "the nftables rule that masquerades %v is gone", pool)
		}
	}
	return nil
}

// MendPorts puts the ports of a bridge back that are off it or down, and tells them where its addresses are.
func (k *Kernel) MendPorts(b Bridge, ports []string) error {
	var bridge rtnl.Link
	err := k.host.With(func(s *rtnl.Socket) (err error) {
		if bridge, err = rtnl.LinkNamed(s, b.Name); err != nil {
			return err
		}
		all, err := rtnl.Links(s)
		if err != nil {
			return err
		}
		var failed []error
		for _, l := range all {
			if !slices.Contains(ports, l.Name) || l.Master != 0 && l.Master != bridge.Index || l.Master != 0 && l.Up() {
				continue
			}
			failed = append(failed, s.Do(rtnl.ChangeLink(l.Index, "put "+l.Name+" back", unix.IFF_UP, rtnl.WithMaster(bridge.Index))))
		}
		return errors.Join(failed...)
	})
	if err != nil {
		return fmt.Errorf("netops: mend the ports of bridge %s: %w", b.Name, err)
	}
	k.announceBridge(bridge, b.Addresses)
	return nil
}

// announceBridge tells who is on a bridge its addresses' MAC: it may be another than before.
func (k *Kernel) announceBridge(bridge rtnl.Link, addresses []netip.Prefix) {
	a := l2.Announcement{Netns: k.home, Link: bridge.Name, Addresses: addresses, MAC: bridge.MAC}
	a.Send()
}
