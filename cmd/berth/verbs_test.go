package main

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

func TestADelSaysOnlyWhatItIsAbout(t *testing.T) {
	a := newAgent(t, granted)
	for name, test := range map[string]struct {
		call  invocation
		netns string
	}{
		"as it was added":                    {invocation{config: asInterface}, netns},
		"without a namespace":                {invocation{config: asInterface, netns: "-"}, ""},
		"with one that is gone":              {invocation{config: asInterface, netns: "/run/netns/none"}, "/run/netns/none"},
		"with one that never was the tenant": {invocation{config: asInterface, netns: "/proc/1/ns/net"}, "/proc/1/ns/net"},
		"with one that is none":              {invocation{config: asInterface, netns: "/proc/self/status"}, "/proc/self/status"},
		"with arguments that ADD refuses":    {invocation{config: asInterface, args: "FOO"}, netns},
		"with a result that is damaged":      {invocation{config: with(asInterface, `"prevResult":{"ips":[{"address":7}]}`)}, netns},
		"with capabilities that ADD refuses": {invocation{config: with(asInterface, `"runtimeConfig":{"portMappings":[{"hostPort":1}]}`)}, netns},
		"with the IPAM of another":           {invocation{config: with(asInterface, `"ipam":{"type":"host-local"}`)}, netns},
	} {
		t.Run(name, func(t *testing.T) {
			test.call.verb = "DEL"
			if output := test.call.succeeds(t, a.socket); output != "" {
				t.Errorf("it prints %q: want nothing", output)
			}
			r := a.one(t)
			want := wire.Container{Network: "net", ID: "c1", Interface: "eth0", Role: wire.Interface, Netns: test.netns}
			if r.Operation != wire.Delete || r.Verb != "DEL" || r.Started <= 0 || !reflect.DeepEqual(r.Containers, wire.Containers{want}) {
				t.Errorf("the request is %+v: want to delete %+v", r, want)
			}
			if found := notes(t, a.socket); len(found) > 0 {
				t.Errorf("it leaves a note though the agent has answered")
			}
		})
	}
}

func TestACheckSaysWhatAddHasAnswered(t *testing.T) {
	a := newAgent(t, granted)
	interfaces := wire.Result{
		MAC: "be:00:0a:2a:10:09", MTU: 1450, HostName: "bth0123456789ab", HostMAC: "be:01:0a:2a:10:09", Bridge: "berth0",
		BridgeMAC: "be:02:00:00:00:01",
	}
	addresses := wire.Result{
		Addresses: granted(&wire.Request{Operation: wire.Insert}).Results[0].Addresses,
		Routes:    granted(&wire.Request{Operation: wire.Insert}).Results[0].Routes,
	}
	for _, spec := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		for _, config := range []string{asInterface, asIPAM} {
			config = strings.Replace(config, "1.1.0", spec, 1)
			added := invocation{config: config}.succeeds(t, a.socket)
			a.asked()
			want, role := addresses, wire.IPAM
			if !strings.Contains(config, "ipam") {
				want, role = interfaces, wire.Interface
				want.Addresses, want.Routes = addresses.Addresses, addresses.Routes
			}
			if spec != "1.1.0" && spec != "1.0.0" {
				want.MTU = 0 // results had none
			}
			if output := (invocation{verb: "CHECK", config: with(config, `"prevResult":`+added)}).succeeds(t, a.socket); output != "" {
				t.Errorf("it prints %q: want nothing", output)
			}
			r := a.one(t)
			c := r.Containers[0]
			if r.Operation != wire.Read || r.Verb != "CHECK" || c.ID != "c1" || c.Role != role || c.NetnsFile != 1 {
				t.Errorf("the request is %+v: want to read c1", r)
			}
			if !reflect.DeepEqual(c.Previous, &want) {
				t.Errorf("%s %s: previous is %+v: want %+v", spec, role, c.Previous, want)
			}
		}
	}
}

func TestACheckLeavesOutWhatOtherPluginsHaveAdded(t *testing.T) {
	a := newAgent(t, granted)
	invocation{verb: "CHECK", config: with(asInterface, `"prevResult":{"cniVersion":"1.1.0",
		"interfaces":[null,{"name":"veth9"},{"name":"eth0","sandbox":"/proc/self/../../run/netns/c1","mac":"be:00:00:00:00:09"},{"name":"eth1","sandbox":"/run/netns/c1"}],
		"ips":[{"address":"10.42.0.7/16","interface":2},{"address":"10.43.0.7/16","interface":3},{"address":"10.44.0.7/16"}],"routes":[]}`)}.succeeds(t, a.socket)
	previous := a.one(t).Containers[0].Previous
	want := []wire.Address{{Address: netip.MustParsePrefix("10.42.0.7/16")}, {Address: netip.MustParsePrefix("10.44.0.7/16")}}
	if !reflect.DeepEqual(previous.Addresses, want) || previous.MAC != "be:00:00:00:00:09" {
		t.Errorf("previous is %+v: want addresses %v of eth0", previous, want)
	}
}

func TestStatusNamesThePoolAndTheRole(t *testing.T) {
	a := newAgent(t, granted)
	for _, config := range []string{with(asInterface, `"pool":"blue"`), inIPAM(asIPAM, `"pool":"blue"`)} {
		role := wire.Interface
		if strings.Contains(config, "ipam") {
			role = wire.IPAM
		}
		if output := (invocation{verb: "STATUS", id: "-", netns: "-", ifname: "-", config: config}).succeeds(t, a.socket); output != "" {
			t.Errorf("it prints %q: want nothing", output)
		}
		if r := a.one(t); r.Operation != wire.Status || r.Network != "net" || r.Pool != "blue" || r.Role != role || len(r.Containers) > 0 {
			t.Errorf("the request is %+v: want the status of pool blue in role %s", r, role)
		}
	}
}

func TestGCSparesWhatTheRuntimeLists(t *testing.T) {
	a := newAgent(t, granted)
	for keys, want := range map[string][]wire.Attachment{
		`"cni.dev/valid-attachments":[]`:   nil,
		`"cni.dev/valid-attachments":null`: nil, // what libcni makes of a list that is nil
		`"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},{"containerID":"c2","ifname":"eth1"}]`: {
			{Container: "c1", Interface: "eth0"}, {Container: "c2", Interface: "eth1"},
		},
		`"cni.dev/attachments":[{"containerID":"c1","ifname":"eth0"}]`: {{Container: "c1", Interface: "eth0"}},
		`"cni.dev/attachments":[],"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}]`: {
			{Container: "c1", Interface: "eth0"},
		},
	} {
		if output := (invocation{verb: "GC", id: "-", netns: "-", ifname: "-", config: with(asIPAM, keys)}).succeeds(t, a.socket); output != "" {
			t.Errorf("it prints %q: want nothing", output)
		}
		if r := a.one(t); r.Operation != wire.GC || r.Network != "net" || !reflect.DeepEqual(r.Valid, want) {
			t.Errorf("%s: the request is %+v: want to spare %v", keys, r, want)
		}
	}
}

func TestGCWithoutAListRemovesNothing(t *testing.T) {
	a := newAgent(t, granted)
	invocation{verb: "GC", config: asInterface}.succeeds(t, a.socket)
	if asked := a.asked(); len(asked) > 0 {
		t.Errorf("the agent was asked to %s with %v as valid", asked[0].Operation, asked[0].Valid)
	}
}
