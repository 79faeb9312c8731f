package main

import (
	"net/netip"
	"slices"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/berth-ipam/berth/internal/wire"
)

// A previousResult is the part of prevResult that Berth has a use for. It is the same from version 0.3.1 of the CNI
// specification to 1.1.0.
type previousResult struct {
	Interfaces []previousInterface `json:"interfaces"`
	IPs        []struct {
		Interface *int         `json:"interface"`
		Address   netip.Prefix `json:"address"`
		Gateway   netip.Addr   `json:"gateway"`
	} `json:"ips"`
	Routes []struct {
		To  netip.Prefix `json:"dst"`
		Via netip.Addr   `json:"gw"`
	} `json:"routes"`
}

type previousInterface struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	MTU     int    `json:"mtu"`
	Sandbox string `json:"sandbox"`
}

// chained is prevResult as ADD has to pass it on (CNI specification 1.1.0, section 3, "prevResult").
func (c *call) chained() (*types100.Result, error) {
	result, err := create.Create(c.CNIVersion, c.PrevResult)
	if err != nil {
		return nil, wire.Errorf(wire.CodeDecode, `decode "prevResult": %w`, err)
	}
	before, err := types100.NewResultFromResult(result)
	if err != nil {
		return nil, wire.Errorf(wire.CodeDecode, `decode "prevResult": %w`, err)
	}
	return before, nil
}

// onlyLoopback reports whether a result has nothing but a loopback interface and its addresses.
func onlyLoopback(r *types100.Result) bool {
	for _, i := range r.Interfaces {
		if i == nil || i.Name != "lo" {
			return false
		}
	}
	for _, ip := range r.IPs {
		if ip == nil || !ip.Address.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// previously is what prevResult says of this attachment. It is the whole chain's result, so that there may be more in
// it than Berth has given (CNI specification 1.1.0, "CHECK").
func (c *call) previously() (*wire.Result, error) {
	if absent(c.PrevResult) {
		return nil, wire.Errorf(wire.CodeConfig, `network %q: "prevResult" is missing: CHECK compares with what ADD has answered`, c.Name)
	}
	var all previousResult
	if err := decode(`"prevResult"`, c.PrevResult, &all); err != nil {
		return nil, err
	}
	result := &wire.Result{}
	if c.role == wire.Interface {
		if err := c.previousInterfaces(result, all.Interfaces); err != nil {
			return nil, err
		}
	}
	for i, ip := range all.IPs {
		if at := ip.Interface; at != nil {
			if *at < 0 || *at >= len(all.Interfaces) {
				return nil, wire.Errorf(wire.CodeConfig, "prevResult.ips[%d].interface is %d: there are %d interfaces", i, *at, len(all.Interfaces))
			}
			if all.Interfaces[*at].Name != c.IfName {
				continue
			}
		}
		result.Addresses = append(result.Addresses, wire.Address{Address: ip.Address, Gateway: ip.Gateway})
	}
	for _, r := range all.Routes {
		result.Routes = append(result.Routes, wire.Route{To: r.To, Via: r.Via})
	}
	return result, nil
}

func (c *call) previousInterfaces(result *wire.Result, interfaces []previousInterface) error {
	own := slices.IndexFunc(interfaces, func(i previousInterface) bool { return i.Name == c.IfName && i.Sandbox != "" })
	if own < 0 {
		return wire.Errorf(wire.CodeConfig, "prevResult has no interface %q with a sandbox: want what ADD has answered", c.IfName)
	}
	if sandbox := interfaces[own].Sandbox; sandbox != c.Netns && !sameFile(sandbox, c.Netns) {
		return wire.Errorf(wire.CodeConfig, "prevResult has interface %q in %s, and CNI_NETNS is %s: want one and the same", c.IfName, sandbox,
			c.Netns)
	}
	result.MAC, result.MTU = interfaces[own].MAC, interfaces[own].MTU
	for _, i := range interfaces {
		switch {
		case i.Sandbox != "":
		case i.Name == c.Bridge:
			result.Bridge, result.BridgeMAC = i.Name, i.MAC
		case result.HostName == "":
			result.HostName, result.HostMAC = i.Name, i.MAC
		}
	}
	return nil
}
