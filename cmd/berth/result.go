package main

import (
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-ipam/berth/internal/wire"
)

// print prints what ADD has given, in the version of the configuration.
func (c *call) print(r wire.Result, dns types.DNS) error {
	if err := types.PrintResult(c.result(r, dns), c.CNIVersion); err != nil {
		return wire.Errorf(wire.CodeIO, "print the result: %w", err)
	}
	return nil
}

// result is a wire.Result as the CNI specification 1.1.0 has it, section 5, "Success"; in the IPAM role without
// interfaces ("Delegated plugins").
func (c *call) result(r wire.Result, dns types.DNS) *types100.Result {
	result := &types100.Result{CNIVersion: types100.ImplementedSpecVersion, DNS: dns}
	if r.DNS != nil {
		result.DNS = override(types.DNS(*r.DNS), dns)
	}
	if c.before != nil {
		result.Interfaces, result.IPs, result.Routes = c.before.Interfaces, c.before.IPs, c.before.Routes
	}
	var containers *int
	if c.role == wire.Interface {
		if r.Bridge != "" {
			result.Interfaces = append(result.Interfaces, &types100.Interface{Name: r.Bridge, Mac: r.BridgeMAC})
		}
		result.Interfaces = append(result.Interfaces,
			&types100.Interface{Name: r.HostName, Mac: r.HostMAC},
			&types100.Interface{Name: c.IfName, Mac: r.MAC, Mtu: r.MTU, Sandbox: c.Netns})
		containers = types100.Int(len(result.Interfaces) - 1)
	}
	for _, a := range r.Addresses {
		result.IPs = append(result.IPs, &types100.IPConfig{Interface: containers, Address: ipNet(a.Address), Gateway: a.Gateway.AsSlice()})
	}
	for _, route := range r.Routes {
		result.Routes = append(result.Routes, &types.Route{Dst: ipNet(route.To), GW: route.Via.AsSlice()})
	}
	return result
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// override is base with the fields that over has.
func override(base, over types.DNS) types.DNS {
	if len(over.Nameservers) > 0 {
		base.Nameservers = over.Nameservers
	}
	if over.Domain != "" {
		base.Domain = over.Domain
	}
	if len(over.Search) > 0 {
		base.Search = over.Search
	}
	if len(over.Options) > 0 {
		base.Options = over.Options
	}
	return base
}
