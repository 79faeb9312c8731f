package main

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-ipam/berth/internal/wire"
)

// asked is what a runtime says of one container (CNI conventions): "runtimeConfig" comes only where the plugin has
// declared a capability, "args" always.
type asked struct {
	RuntimeConfig json.RawMessage `json:"runtimeConfig"`
	Args          struct {
		CNI struct {
			IPs   []string        `json:"ips"`
			MAC   string          `json:"mac"`
			Berth json.RawMessage `json:"berth"`
		} `json:"cni"`
	} `json:"args"`
}

// named is what args.cni.berth says.
type named struct {
	Class     string `json:"class"`
	Namespace string `json:"namespace"`
	App       string `json:"app"`
	Member    string `json:"member"`
}

// container is the attachment that a verb is about.
func (c *call) container() wire.Container {
	env, _ := parseArgs(c.Args) // only ADD refuses them
	return wire.Container{Network: c.Name, ID: c.ContainerID, Interface: c.IfName, Role: c.role, Netns: c.Netns, Workload: workload(env)}
}

// wanted is the container of an ADD with all that was said of it, and the DNS that goes before the pool's.
func (c *call) wanted() (w wire.Container, dns types.DNS, err error) {
	if err := c.serviceable(); err != nil {
		return w, dns, err
	}
	if c.before, err = c.first(); err != nil {
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
	annotations, err := capable.annotations()
	if err != nil {
		return w, dns, err
	}
	var own named
	err = decode("args.cni.berth", said.Args.CNI.Berth, &own)
	if err = cmp.Or(err, onlyKeys("args.cni.berth", said.Args.CNI.Berth, argsKeys)); err != nil {
		return w, dns, err
	}
	w = c.container()
	w.Bridge, w.Uplink, w.IPMasq = c.Bridge, c.Uplink, c.IPMasq

	// What is said of the one container goes before what is said of all, args before CNI_ARGS.
	w.Class = cmp.Or(own.Class, env["BERTH_CLASS"], annotations["class"], c.Class)
	w.Namespace = cmp.Or(own.Namespace, env["BERTH_NAMESPACE"], env["K8S_POD_NAMESPACE"], wire.DefaultNamespace)
	w.App = cmp.Or(own.App, env["BERTH_APP"], annotations["app"])
	w.Member = cmp.Or(own.Member, env["BERTH_MEMBER"], annotations["member"], env["K8S_POD_NAME"])
	w.Pool = cmp.Or(annotations["pool"], c.Pool)

	w.Addresses = firstOf(capable.IPs, said.Args.CNI.IPs, listOf(env["IP"]), listOf(annotations["addresses"]))
	if c.role == wire.Interface { // else the other plugin sets it
		w.MAC = cmp.Or(capable.MAC, said.Args.CNI.MAC, env["MAC"])
	}
	return w, override(c.DNS, capable.dns()), nil
}

// serviceable refuses a configuration by which no ADD can be served.
func (c *call) serviceable() error {
	return cmp.Or(c.validKeys(), c.validNames())
}

// first refuses to make an interface where another plugin has made it, or is to give its addresses. A plugin that has
// only brought up the loopback may come before, as in Nomad's lists: what it has answered is part of this answer.
func (c *call) first() (before *types100.Result, err error) {
	switch {
	case c.role == wire.IPAM:
		return nil, nil
	case c.ipamType != "" && !own(c.ipamType):
		return nil, wire.Errorf(wire.CodeUnsupported,
			`network %q: ipam.type is %q: an interface of type %q has its addresses from Berth; take "ipam" out`, c.Name, c.ipamType, name)
	case absent(c.PrevResult):
		return nil, nil
	}
	if before, err = c.chained(); err != nil {
		return nil, err
	}
	if !onlyLoopback(before) {
		return nil, wire.Errorf(wire.CodeConfig, `network %q: "prevResult" shows that another plugin `+
			`has made an interface before %q: put it first, since it makes the interface; `+
			`as the IPAM plugin of another it is "ipam": {"type": %[2]q}`, c.Name, name)
	}
	return before, nil
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

// listOf reads a value that may name several, with commas between them.
func listOf(value string) (list []string) {
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}
