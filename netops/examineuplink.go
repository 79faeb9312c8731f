package netops

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// uplink looks at the NIC.
func (x *examination) uplink(s *rtnl.Socket) error {
	name, bridge := x.want.Uplink, x.want.Name
	if name == "" {
		x.former()
		return nil
	}
	nic, there := x.byName[name]
	if !there {
		is, err := uplinkOf(s, bridge)
		none := errors.Is(err, unix.ENODEV)
		if err != nil && !none {
			return err
		}
		if none {
			x.report("uplink-gone", "plug it in, or name another uplink in the network's configuration",
				"uplink %s of bridge %s does not exist: containers of other nodes are out of reach", name, bridge)
			return nil
		}
		nic = is
		x.report("uplink-renamed", fmt.Sprintf("name %s as the uplink in the network's configuration, or give the NIC its name back", nic.Name),
			"uplink %s of bridge %s is called %s now", name, bridge, nic.Name)
	}
	switch {
	case nic.Master == 0:
		x.add("uplink-out", "uplink %s is not a port of bridge %s", nic.Name, bridge)
		return nil
	case nic.Master != x.bridge.Index:
		x.report("uplink-elsewhere", fmt.Sprintf("put it back: ip link set %s master %s", nic.Name, bridge),
			"uplink %s is a port of %s, and not of bridge %s", nic.Name, x.names[nic.Master], bridge)
		return nil
	case !nic.Up():
		x.report("uplink-down", "bring it up: ip link set "+nic.Name+" up", "uplink %s of bridge %s was taken down", nic.Name, bridge)
	}
	move, err := moveSteps(s, nic, x.bridge)
	if err == nil && len(move) > 0 {
		x.add("uplink-address", "a DHCP client, or somebody else, has put addresses or routes on uplink %s that belong on bridge %s", nic.Name,
			bridge)
	}
	return err
}

// former looks for the uplink of a bridge that is to have none any more: a bridge of ours got its MAC.
func (x *examination) former() {
	for _, l := range x.byName {
		if x.bridge.Alias == ownBridge && len(x.want.Addresses) > 0 && isUplink(&l, &x.bridge) {
			x.report("uplink-left", fmt.Sprintf("move the host's addresses and routes from %s to %s, then take it out: ip link set %[2]s nomaster",
				x.want.Name, l.Name), "bridge %s is to have no uplink, and %s is still its port: this node answers for %v in that network",
				x.want.Name, l.Name, x.want.Addresses)
		}
	}
}

// lease looks at a host's address on the bridge that its DHCP client has to renew.
func (x *examination) lease(a rtnl.Address) {
	if x.want.Uplink == "" || !a.Ends() || a.Scope != unix.RT_SCOPE_UNIVERSE || a.Flags&unix.IFA_F_TEMPORARY != 0 {
		return
	}
	left := a.Left()
	// a client rebinds after 7/8 of it (RFC 2131, section 4.4.5)
	if whole := x.k.bridges.longest(x.want.Name, a.Prefix, left); left >= whole/8 {
		return
	}
	x.report("lease-not-renewed", fmt.Sprintf("let the DHCP client run on %s instead of %s: see docs/uplink.md", x.want.Name, x.want.Uplink),
		"the host's address %v on bridge %s runs out in %v, and nobody has renewed it", a.Prefix, x.want.Name, left)
}
