package main

import (
	"cmp"
	"encoding/json"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/internal/wire"
)

// defaultNamespace is that of an app which is named without one.
const defaultNamespace = "default"

// asked is what a runtime says of one container (CNI conventions): "runtimeConfig" comes only where the plugin has
// declared a capability, "args" always.
type asked struct {
	RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	Args          struct {
		CNI struct {
			IPs   []string `json:"ips"`
			MAC   string   `json:"mac"`
			Berth struct {
				Class     string `json:"class"`
				Namespace string `json:"namespace"`
				App       string `json:"app"`
				Member    string `json:"member"`
			} `json:"berth"`
		} `json:"cni"`
	} `json:"args"`
}

// container is the attachment that a verb is about.
func (c *call) container() wire.Container {
	return wire.Container{Network: c.Name, ID: c.ContainerID, Interface: c.IfName, Role: c.role, Netns: c.Netns}
}

// wanted is the container of an ADD with all that was said of it, and the DNS that goes before the pool's.
func (c *call) wanted() (w wire.Container, dns types.DNS, err error) {
	if err := c.first(); err != nil {
		return w, dns, err
	}
	var said asked
	if err := decode("the network configuration", c.StdinData, &said); err != nil {
		return w, dns, err
	}
	capable, err := c.parseCapabilities(said.RuntimeConfig)
	if err != nil {
		return w, dns, err
	}
	env, err := parseArgs(c.Args)
	if err != nil {
		return w, dns, err
	}
	w = c.container()
	w.Bridge, w.Uplink, w.IPMasq = c.Bridge, c.Uplink, c.IPMasq

	// What is said of the one container goes before what is said of all, args before CNI_ARGS.
	own, annotations := said.Args.CNI.Berth, capable.Annotations
	w.Class = cmp.Or(own.Class, env["BERTH_CLASS"], annotations["berth.io/class"], c.Class)
	w.Namespace = cmp.Or(own.Namespace, env["BERTH_NAMESPACE"], env["K8S_POD_NAMESPACE"], defaultNamespace)
	w.App = cmp.Or(own.App, env["BERTH_APP"], annotations["berth.io/app"])
	w.Member = cmp.Or(own.Member, env["BERTH_MEMBER"], annotations["berth.io/member"], env["K8S_POD_NAME"])
	w.Pool = cmp.Or(annotations["berth.io/pool"], c.Pool)

	w.Addresses = firstOf(capable.IPs, said.Args.CNI.IPs, listOf(env["IP"]))
	if c.role == wire.Interface { // else the other plugin sets it
		w.MAC = cmp.Or(capable.MAC, said.Args.CNI.MAC, env["MAC"])
	}
	return w, override(c.DNS, capable.dns()), nil
}

// first refuses to make an interface where another plugin has made it, or is to give its addresses.
func (c *call) first() error {
	switch {
	case c.role == wire.IPAM:
		return nil
	case !absent(c.PrevResult):
		return wire.Errorf(wire.CodeConfig, `network %q: "prevResult" shows that another plugin comes before %q: put it first, since it makes the interface; as the IPAM plugin of another it is "ipam": {"type": %[2]q}`, c.Name, name)
	case c.ipamType != "" && !own(c.ipamType):
		return wire.Errorf(wire.CodeUnsupported, `network %q: ipam.type is %q: an interface of type %q has its addresses from Berth; take "ipam" out`, c.Name, c.ipamType, name)
	}
	return nil
}

// firstOf is the first list that is there, even if it is empty.
func firstOf(lists ...[]string) []string {
	for _, list := range lists {
		if list != nil {
			return list
		}
	}
	return nil
}

func listOf(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
