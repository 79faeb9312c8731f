package main

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/client"
)

// A name that means a container of another node ends nothing here in its place.
func TestAContainerOfAnotherNodeIsNamedWithItsNode(t *testing.T) {
	at := func(node, network, id, ifname string) client.ContainerVersion {
		return client.ContainerVersion{Network: network, ID: id, Interface: ifname, Node: node}
	}
	here := []client.Container{{Network: "berth", ID: "c1", Interface: "eth0"}}
	for name, c := range map[string]struct {
		all  []client.ContainerVersion
		away string
	}{
		"it is here": {[]client.ContainerVersion{at("n1", "berth", "c1", "eth0")}, ""},
		"another one is there": {[]client.ContainerVersion{at("n1", "berth", "c1", "eth0"), at("n2", "berth", "c2", "eth0")},
			"c2 is on node n2"},
		"its interface of another network": {[]client.ContainerVersion{at("n2", "other", "c1", "eth0")}, "c1 is on node n2"},
		"another interface of it":          {[]client.ContainerVersion{at("n2", "berth", "c1", "eth1")}, "c1 is on node n2"},
	} {
		t.Run(name, func(t *testing.T) {
			err := allHere(here, c.all)
			if (err == nil) != (c.away == "") || err != nil && !strings.Contains(err.Error(), c.away) {
				t.Errorf("the error is %v, want %q", err, c.away)
			}
		})
	}
}

// One set is meant, by one way of naming it.
func TestASetToDeleteIsNamedInOneWay(t *testing.T) {
	set := file(t, "containers: []\n")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"delete"}, "a CONTAINER"},
		{[]string{"delete", "--app", "shop/web", "c1"}, "both --app and"},
		{[]string{"delete", "--app", "shop/web", "-f", set}, "both a file and --app"},
		{[]string{"delete", "--app", "shop"}, "want NAMESPACE/APP"},
		{[]string{"delete", "--app", ""}, "want NAMESPACE/APP"},
		{[]string{"delete", "-f", set, "c1"}, "c1"},
	} {
		execute(t, nil, c.args...).exits(2).complains(c.says)
	}
}
