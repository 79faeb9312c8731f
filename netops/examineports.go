package netops

import (
	"fmt"
	"strings"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// nearlyFull is from how many ports on a bridge is said to be filling up.
const nearlyFull = 1000

// ports looks at those that should be on the bridge.
func (x *examination) ports(ports []string) {
	var off, down, plain, elsewhere []string
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
		case !p.Hairpin:
			plain = append(plain, name)
		}
	}
	if len(off) > 0 {
		x.add("port-off", "%s off bridge %s: %s", counted(off), x.want.Name, few(off))
	}
	if len(down) > 0 {
		x.add("port-down", "%s down on bridge %s: %s", counted(down), x.want.Name, few(down))
	}
	if len(plain) > 0 {
		x.add("port-not-hairpin", "%s not hairpin on bridge %s, so that it does not reach itself by a Service: %s", counted(plain),
			x.want.Name, few(plain))
	}
	if len(elsewhere) > 0 {
		x.report("port-elsewhere", fmt.Sprintf("put each back if that was not meant: ip link set PORT master %s", x.want.Name),
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
		x.report("bridge-full", "give some of this node's containers another bridge (a network with another \"bridge\"), or spread them "+
			"over more nodes",
			"bridge %s has %d ports, and the kernel lets a bridge have %d", x.want.Name, n, maxPorts)
	}
}
