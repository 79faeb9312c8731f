package kernel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/netops"
)

// HostFaults compares the host with a bridge's configuration and its ports.
func (k *Kernel) HostFaults(b netops.Bridge, ports []string) (found []netops.HostFault, err error) {
	err = k.do("HostFaults", func() error {
		x := &examination{Host: k.host, want: b}
		x.run(ports)
		x.routing()
		if r := k.bridges[b.Name]; r != nil && x.remember {
			r.had = slices.Clone(x.on.addresses)
		}
		found = x.found
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// An examination compares one bridge.
type examination struct {
	*Host
	want     netops.Bridge
	on       *link
	found    []netops.HostFault
	remember bool // its addresses are as they should be
}

// add adds a fault; advice: an operator has to repair it.
func (x *examination) add(kind, advice, format string, args ...any) {
	x.found = append(x.found, netops.HostFault{Kind: kind, Text: fmt.Sprintf(format, args...), Advice: advice})
}

func (x *examination) run(ports []string) {
	name := x.want.Name
	x.on = x.links[name]
	switch {
	case x.on == nil:
		x.add("bridge-gone", "", "bridge %s does not exist: somebody has deleted it", name)
		return
	case x.on.kind != bridge:
		x.add("bridge-taken", fmt.Sprintf("remove the link %[1]s, or rename it: ip link delete %[1]s", name),
			"the link %s is no bridge: it is of kind %q", name, x.on.told())
		return
	}
	if !x.on.up {
		x.add("bridge-down", "", "bridge %s is down", name)
	}
	for _, want := range x.want.Addresses {
		if !x.on.has(want) {
			x.add("gateway-gone", "", "bridge %s lacks %v, its containers' gateway", name, want)
		}
	}
	for _, a := range x.on.addresses {
		if x.want.Uplink != "" && a.ours && !slices.Contains(x.want.Addresses, a.Prefix) {
			x.add("gateway-left", "", "bridge %s has an uplink, and still %v, which this node gave it when it had none", name, a.Prefix)
		}
	}
	x.remember = len(x.found) == 0
	x.uplink()
	x.ports(ports)
}

func (x *examination) uplink() {
	name, on := x.want.Uplink, x.want.Name
	if name == "" {
		if l := x.uplinkOf(on); l != nil && x.on.alias == ownBridge && len(x.want.Addresses) > 0 {
			x.add("uplink-left", fmt.Sprintf("move the host's addresses and routes from %s to %s, then take it out: ip link set %[2]s nomaster",
				on, l.name), "bridge %s is to have no uplink, and %s is still its port: this node answers for %v in that network",
				on, l.name, x.want.Addresses)
		}
		return
	}
	l := x.links[name]
	if l == nil {
		if l = x.uplinkOf(on); l == nil {
			x.add("uplink-gone", "plug it in, or name another uplink in the network's configuration",
				"uplink %s of bridge %s does not exist: containers of other nodes are out of reach", name, on)
			return
		}
		x.add("uplink-renamed", fmt.Sprintf("name %s as the uplink in the network's configuration, or give the NIC its name back", l.name),
			"uplink %s of bridge %s is called %s now", name, on, l.name)
	}
	switch {
	case l.master == nil:
		x.add("uplink-out", "", "uplink %s is not a port of bridge %s", l.name, on)
		return
	case l.master != x.on:
		x.add("uplink-elsewhere", fmt.Sprintf("put it back: ip link set %s master %s", l.name, on),
			"uplink %s is a port of %s, and not of bridge %s", l.name, l.master.name, on)
		return
	case !l.up:
		x.add("uplink-down", "bring it up: ip link set "+l.name+" up", "uplink %s of bridge %s was taken down", l.name, on)
	}
	if len(moving(l, x.on)) > 0 || l.local && x.on.mtu >= minimumV6 {
		x.add("uplink-address", "", "a DHCP client, or somebody else, has put addresses or routes on uplink %s that belong on bridge %s",
			l.name, on)
	}
}

func (x *examination) ports(ports []string) {
	var off, down, plain, elsewhere []string
	for _, name := range ports {
		p := x.links[name]
		switch {
		case p == nil:
		case p.master == nil:
			off = append(off, name)
		case p.master != x.on:
			elsewhere = append(elsewhere, fmt.Sprintf("%s (on %s)", name, p.master.name))
		case !p.up:
			down = append(down, name)
		case !p.hairpin:
			plain = append(plain, name)
		}
	}
	if len(off) > 0 {
		x.add("port-off", "", "%s off bridge %s: %s", counted(off), x.want.Name, few(off))
	}
	if len(down) > 0 {
		x.add("port-down", "", "%s down on bridge %s: %s", counted(down), x.want.Name, few(down))
	}
	if len(plain) > 0 {
		x.add("port-not-hairpin", "", "%s not hairpin on bridge %s, so that it does not reach itself by a Service: %s", counted(plain),
			x.want.Name, few(plain))
	}
	if len(elsewhere) > 0 {
		x.add("port-elsewhere", fmt.Sprintf("put each back if that was not meant: ip link set PORT master %s", x.want.Name),
			"%s on other bridges than %s: %s", counted(elsewhere), x.want.Name, few(elsewhere))
	}
	if n := len(x.on.ports()); n >= 1000 {
		x.add("bridge-full", "give some of this node's containers another bridge (a network with another \"bridge\"), or spread them "+
			"over more nodes", "bridge %s has %d ports, and the kernel lets a bridge have %d", x.want.Name, n, mostPorts)
	}
}

func counted(names []string) string {
	if len(names) == 1 {
		return "1 container's port is"
	}
	return fmt.Sprintf("%d containers' ports are", len(names))
}

func few(names []string) string {
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// routing compares forwarding and masquerading.
func (x *examination) routing() {
	seen := [2]bool{}
	for _, p := range slices.Concat(x.want.Addresses, x.want.Masquerade) {
		f := familyOf(p.Addr())
		of := ""
		switch {
		case seen[f]:
			continue
		case !x.forwards[f]:
			of = "all"
		case x.on != nil && !x.on.forwards[f] && (f == 0 || x.on.mtu >= minimumV6):
			of = x.want.Name
		default:
			continue
		}
		x.add("forwarding-off", "", "the host forwards no %s packets of bridge %s: %s/%s/forwarding is 0", families[f], x.want.Name,
			settings[f], of)
		seen[f] = true
	}
	for _, pool := range x.want.Masquerade {
		if !x.masquerade[pool.Masked()] {
			x.add("masquerade-gone", "", "the nftables rule that masquerades %v is gone, or the set of what it spares", pool)
		}
	}
}

// RepairPorts restores the ports of a bridge that are off it or down.
func (k *Kernel) RepairPorts(b netops.Bridge, ports []string) error {
	return k.do("RepairPorts", func() error {
		on, err := k.host.links.find(b.Name)
		if err != nil {
			return err
		}
		for _, l := range k.host.links.ordered() {
			if slices.Contains(ports, l.name) && (l.master == nil || l.master == on && !(l.up && l.hairpin)) {
				l.join(on)
				l.hairpin = true
				l.setUp(true)
				k.lan.changed = true
			}
		}
		return nil
	})
}
