package main

import (
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/berth-ipam/berth/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestAResultIsInTheVersionOfItsConfiguration(t *testing.T) {
	a := newAgent(t, granted)
	for role, config := range map[string]string{"interface": asInterface, "ipam": asIPAM} {
		for _, spec := range (versions{}).SupportedVersions() {
			output := invocation{config: strings.Replace(config, "1.1.0", spec, 1)}.succeeds(t, a.socket)
			golden := filepath.Join("testdata", role+"-"+spec+".json")
			if *update {
				must(t, os.WriteFile(golden, []byte(output+"\n"), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if output != strings.TrimSuffix(string(want), "\n") {
				t.Errorf("%s is not what was printed:\n%s", golden, output)
			}
			// What libcni makes of it.
			result, err := cniversion.NewResult(spec, []byte(output))
			must(t, err)
			result100, err := types100.NewResultFromResult(result)
			must(t, err)
			for _, ip := range result100.IPs {
				switch {
				case role == "ipam" && (ip.Interface != nil || result100.Interfaces != nil):
					t.Errorf("%s %s: it names an interface, which an IPAM plugin may not", role, spec)
				case role == "interface" && result100.Interfaces[*ip.Interface].Sandbox != netns:
					t.Errorf("%s %s: %v is said to be on another interface than the container's", role, spec, ip.Address)
				}
			}
		}
	}
}

func TestDNSOfTheConfigurationAndTheRuntimeGoesBeforeThePools(t *testing.T) {
	a := newAgent(t, granted)
	output := invocation{config: with(asInterface, `"dns":{"nameservers":["9.9.9.9"],"domain":"conf"},"runtimeConfig":{"dns":{"servers":["8.8.8.8"],"options":["ndots:5"]}}`)}.succeeds(t, a.socket)
	var result struct {
		DNS wire.DNS `json:"dns"`
	}
	must(t, json.Unmarshal([]byte(output), &result))
	want := wire.DNS{Nameservers: []string{"8.8.8.8"}, Domain: "conf", Search: []string{"svc.cluster.local"}, Options: []string{"ndots:5"}}
	if got, want := text(t, result.DNS), text(t, want); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAResultWithoutDNSOrGatewayHasNoEmptyOnes(t *testing.T) {
	a := newAgent(t, func(r *wire.Request) *wire.Response {
		response := granted(r)
		result := &response.Results[0]
		result.DNS, result.Routes, result.Addresses = nil, nil, []wire.Address{{Address: result.Addresses[0].Address}}
		return response
	})
	output := invocation{config: asIPAM}.succeeds(t, a.socket)
	var result map[string]any
	must(t, json.Unmarshal([]byte(output), &result))
	if got, want := text(t, result), `{"cniVersion":"1.1.0","ips":[{"address":"10.42.16.9/16"}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	b, err := json.Marshal(value)
	must(t, err)
	return string(b)
}

// TestWhatALoopbackPluginAnsweredIsPassedOn is Nomad's list, in which a plugin brings the loopback up before Berth.
func TestWhatALoopbackPluginAnsweredIsPassedOn(t *testing.T) {
	a := newAgent(t, granted)
	const before = `"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"lo","mac":"00:00:00:00:00:00","sandbox":"/run/netns/c1"}],` +
		`"ips":[{"interface":0,"address":"127.0.0.1/8"},{"interface":0,"address":"::1/128"}],"dns":{}}`
	config := strings.Replace(with(asInterface, before), "1.1.0", "1.0.0", 1)
	result := invocation{config: config}.succeeds(t, a.socket)
	var got types100.Result
	must(t, json.Unmarshal([]byte(result), &got))
	if len(got.Interfaces) != 4 || got.Interfaces[0].Name != "lo" || got.Interfaces[3].Name != "eth0" {
		t.Fatalf("the result has the interfaces %v: want lo, then Berth's three", got.Interfaces)
	}
	if len(got.IPs) != 4 || *got.IPs[0].Interface != 0 || *got.IPs[2].Interface != 3 || !got.IPs[2].Address.IP.Equal(net.IPv4(10, 42, 16, 9)) {
		t.Errorf("the result has the addresses %v: want the loopback's, then Berth's on eth0", got.IPs)
	}
	a.asked()
	invocation{verb: "CHECK", config: with(strings.Replace(asInterface, "1.1.0", "1.0.0", 1), `"prevResult":`+result)}.succeeds(t, a.socket)
	if c := a.one(t).Containers[0]; len(c.Previous.Addresses) != 2 || c.Previous.HostName != "bth0123456789ab" {
		t.Errorf("CHECK compares with %+v: want Berth's own part of it", c.Previous)
	}
	for name, before := range map[string]string{"nothing": `{"cniVersion":"1.1.0"}`,
		"no interface": `{"cniVersion":"1.1.0","interfaces":[],"ips":[]}`} {
		invocation{config: with(asInterface, `"prevResult":`+before)}.succeeds(t, a.socket)
		t.Log(name)
	}
}
