package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

func TestWhatIsWrongIsRefusedBeforeTheAgentIsAsked(t *testing.T) {
	a := newAgent(t, granted)
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	config := func(config string) invocation { return invocation{config: config} }
	for name, test := range map[string]struct {
		call  invocation
		code  uint
		words []string
	}{
		"malformed JSON":      {config("{"), 6, nil},
		"no configuration":    {config(""), 6, nil},
		"no name":             {config(`{"cniVersion":"1.1.0","type":"berth"}`), 7, []string{"name"}},
		"a name with a slash": {config(`{"cniVersion":"1.1.0","name":"a/b","type":"berth"}`), 7, []string{"a/b"}},
		"an older version":    {config(strings.Replace(asInterface, "1.1.0", "0.3.0", 1)), 1, []string{"0.3.0", "0.3.1"}},
		"a newer version":     {config(strings.Replace(asInterface, "1.1.0", "9.0.0", 1)), 1, []string{"9.0.0", "1.1.0"}},
		"no version":          {config(`{"name":"net","type":"berth"}`), 1, []string{"0.1.0"}},
		"neither role": {config(`{"cniVersion":"1.1.0","name":"net","type":"bridge","ipam":{"type":"host-local"}}`), 7,
			[]string{"bridge", "host-local", `"berth"`}},
		"a pool that is none": {config(with(asInterface, `"pool":7`)), 6, []string{"pool"}},
		"in ipam too":         {config(inIPAM(asIPAM, `"pool":7`)), 6, []string{"ipam", "pool"}},
		"a relative socket": {config(`{"cniVersion":"1.1.0","name":"net","type":"berth","socket":"berth.sock"}`), 7,
			[]string{"berth.sock", "absolute"}},
		"a socket's long path": {config(`{"cniVersion":"1.1.0","name":"net","type":"berth","socket":"` + strings.Repeat("/long", 30) + `"}`),
			7, []string{"107"}},
		"another plugin first": {config(with(asInterface,
			`"prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/c1"}]}`)), 7, []string{"prevResult", "first"}},
		"another one's address": {config(with(asInterface, `"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.7/8"}]}`)), 7,
			[]string{"prevResult", "first"}},
		"a result that is none": {config(with(asInterface, `"prevResult":{"cniVersion":"1.1.0","ips":7}`)), 6, []string{"prevResult"}},

		"a typo":                   {config(with(asInterface, `"uplnk":"eth1"`)), 7, []string{"uplnk", `"uplink"`}},
		"a typo in ipam":           {config(inIPAM(asIPAM, `"pol":"blue"`)), 7, []string{"ipam", "pol", `"pool"`}},
		"another plugin's in ipam": {config(inIPAM(asIPAM, `"ranges":[]`)), 7, []string{"ipam", "ranges", "pool, socket, class"}},
		"the interface's in ipam":  {config(inIPAM(asIPAM, `"uplink":"eth1"`)), 7, []string{"ipam", "uplink"}},
		"a typo in args": {config(with(asInterface, `"args":{"cni":{"berth":{"class":"stateful","ap":"db"}}}`)), 7,
			[]string{"args.cni.berth", "ap", `"app"`}},
		"a key that args have not": {config(with(asIPAM, `"args":{"cni":{"berth":{"pool":"blue"}}}`)), 7,
			[]string{"args.cni.berth", "pool", "class"}},
		"a typo in an annotation": {config(with(asInterface, annotated("berth.dev/clas", "stateful"))), 7,
			[]string{"berth.dev/clas", `"class"`}},
		"a namespace by annotation": {config(with(asInterface, annotated("berth.dev/namespace", "shop"))), 7,
			[]string{"berth.dev/namespace", "pod's own"}},
		"a typo that is not another's": {invocation{config: asInterface, args: "IgnoreUnknown=1;BERTH_AP=db"}, 4,
			[]string{"BERTH_AP", "BERTH_APP"}},
		"STATUS of a typo": {invocation{verb: "STATUS", config: with(asInterface, `"uplnk":"eth1"`)}, 7,
			[]string{"uplnk", `"uplink"`}},

		"a bridge that the kernel expands": {config(with(asInterface, `"bridge":"br%d"`)), 7, []string{"bridge", "br%d"}},
		"a bridge called all":              {config(with(asInterface, `"bridge":"all"`)), 7, []string{"bridge", `"all"`}},
		"an uplink with a slash":           {config(with(asInterface, `"uplink":"eth/0"`)), 7, []string{"uplink", "eth/0"}},
		"STATUS of a bridge that is none": {invocation{verb: "STATUS", config: with(asInterface, `"bridge":"br%d"`)}, 7,
			[]string{"bridge", "br%d"}},
		"an interface that the kernel expands": {invocation{config: asInterface, ifname: "eth%d"}, 4, []string{"CNI_IFNAME", "eth%d"}},
		"an interface called default":          {invocation{config: asIPAM, ifname: "default"}, 4, []string{"CNI_IFNAME", "default"}},
		"CHECK of one that the kernel expands": {invocation{verb: "CHECK", config: asInterface, ifname: "eth%d"}, 4,
			[]string{"CNI_IFNAME", "eth%d"}},
		"another plugin's IPAM": {config(with(asInterface, `"ipam":{"type":"host-local"}`)), 2,
			[]string{"ipam.type", "host-local"}},
		"args of another type": {config(with(asInterface, `"args":{"cni":{"berth":7}}`)), 6, []string{"berth"}},

		"port mappings": {config(with(asInterface, `"runtimeConfig":{"portMappings":[{"hostPort":80}]}`)), 2,
			[]string{"portMappings", `"hostPort":80`, "portmap"}},
		"bandwidth": {config(with(asInterface, `"runtimeConfig":{"bandwidth":{"ingressRate":1000}}`)), 2,
			[]string{"bandwidth", "1000"}},
		"aliases": {config(with(asInterface, `"runtimeConfig":{"aliases":["db"]}`)), 2, []string{"aliases", "db"}},
		"a device": {config(with(asInterface, `"runtimeConfig":{"deviceID":"0000:04:00.5"}`)), 2,
			[]string{"deviceID", "0000:04:00.5"}},
		"an InfiniBand GUID": {config(with(asInterface, `"runtimeConfig":{"infinibandGUID":"c2:11:22:33:44:55:66:77"}`)), 2,
			[]string{"infinibandGUID"}},
		"ranges": {config(with(asIPAM, `"runtimeConfig":{"ipRanges":[[{"subnet":"10.1.0.0/16"}]]}`)), 2,
			[]string{"ipRanges", "10.1.0.0/16", "pool"}},
		"capabilities as a list": {config(with(asInterface, `"runtimeConfig":[]`)), 6, []string{"runtimeConfig"}},

		"an unknown argument": {invocation{config: asInterface, args: "BERTH_CLAS=stateful"}, 4,
			[]string{"CNI_ARGS", "BERTH_CLAS", "BERTH_CLASS"}},
		"unknown and not ignored":   {invocation{config: asInterface, args: "FOO=1;IgnoreUnknown=false"}, 4, []string{"FOO"}},
		"an argument without value": {invocation{config: asInterface, args: "BERTH_APP"}, 4, []string{"CNI_ARGS", "BERTH_APP"}},
		"IgnoreUnknown":             {invocation{config: asInterface, args: "IgnoreUnknown=maybe"}, 4, []string{"maybe"}},

		"no command known": {invocation{config: asInterface, verb: "ADDD"}, 4, []string{"CNI_COMMAND", "ADDD"}},
		"nothing in the environment": {invocation{config: asInterface, id: "-", netns: "-", ifname: "-"}, 4,
			[]string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"}},
		"a container ID with a slash": {invocation{config: asInterface, id: "a/b"}, 4, []string{"CNI_CONTAINERID", "a/b"}},
		"a container ID with control": {invocation{config: asInterface, id: "a\x01b"}, 4, []string{"CNI_CONTAINERID"}},
		"an interface name too long":  {invocation{config: asInterface, ifname: "interface-number-1"}, 4, []string{"CNI_IFNAME"}},
		"an interface name with room": {invocation{config: asInterface, ifname: "eth 0", verb: "DEL"}, 4, []string{"CNI_IFNAME"}},

		"a namespace that is a file": {invocation{config: asInterface, netns: "/proc/self/status"}, 8,
			[]string{"CNI_NETNS", "/proc/self/status", "namespace"}},
		"a namespace that is a pipe":         {invocation{config: asInterface, netns: pipe}, 8, []string{pipe}},
		"a namespace that is another kind's": {invocation{config: asInterface, netns: "/proc/self/ns/uts"}, 8, []string{"network namespace"}},
		"a namespace that is not there":      {invocation{config: asIPAM, netns: "/run/netns/none"}, 8, []string{"/run/netns/none"}},
		"the plugin's own namespace": {invocation{config: asInterface, netns: "/proc/self/ns/net"}, 8,
			[]string{"/proc/self/ns/net", "own"}},
		"its own namespace, IPAM role": {invocation{config: asIPAM, netns: "/proc/1/ns/net"}, 8, []string{"/proc/1/ns/net"}},

		"CHECK before it was":    {invocation{verb: "CHECK", config: strings.Replace(asInterface, "1.1.0", "0.3.1", 1)}, 1, []string{"CHECK"}},
		"CHECK without a result": {invocation{verb: "CHECK", config: asInterface}, 7, []string{"prevResult"}},
		"CHECK with another's": {invocation{verb: "CHECK",
			config: with(asInterface, `"prevResult":{"interfaces":[{"name":"eth1","sandbox":"/run/netns/c1"}]}`)},
			7, []string{"prevResult", "eth0"}},
		"CHECK in another sandbox": {invocation{verb: "CHECK",
			config: with(asInterface, `"prevResult":{"interfaces":[{"name":"eth0","sandbox":"/run/netns/c2"}]}`)},
			7, []string{"/run/netns/c1", "/run/netns/c2"}},
		"CHECK with a wrong index": {invocation{verb: "CHECK",
			config: with(asIPAM, `"prevResult":{"ips":[{"address":"10.0.0.1/8","interface":3}]}`)},
			7, []string{"ips[0]", "3"}},
		"CHECK with no result": {invocation{verb: "CHECK", config: with(asIPAM, `"prevResult":{"ips":[{"address":"ten"}]}`)}, 6,
			[]string{"prevResult", "ten"}},
		"STATUS before it was": {invocation{verb: "STATUS", config: strings.Replace(asInterface, "1.1.0", "1.0.0", 1)}, 1,
			[]string{"STATUS"}},
		"GC before it was": {invocation{verb: "GC", config: strings.Replace(asInterface, "1.1.0", "1.0.0", 1)}, 1, []string{"GC"}},
		"GC with another type": {invocation{verb: "GC", config: with(asInterface, `"cni.dev/valid-attachments":{}`)}, 6,
			[]string{"cni.dev/valid-attachments"}},
		"GC with half an attachment": {invocation{verb: "GC", config: with(asInterface, `"cni.dev/valid-attachments":[{"containerID":"c1"}]`)},
			7, []string{"ifname"}},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, name, func() { test.call.fails(t, a.socket, test.code, test.words...) })
			if asked := a.asked(); len(asked) > 0 {
				t.Errorf("the agent was asked to %s", asked[0].Operation)
			}
		})
	}
}

func TestItsOwnNamespaceIsTakenWhereTheRuntimeInsists(t *testing.T) {
	a := newAgent(t, granted)
	for _, override := range []string{"1", "TRUE", "true"} {
		invocation{config: asInterface, netns: "/proc/1/ns/net", env: []string{"CNI_NETNS_OVERRIDE=" + override}}.succeeds(t, a.socket)
		a.one(t)
	}
}

func TestTheAgentsErrorIsTheRuntimes(t *testing.T) {
	for verb, code := range map[string]uint{"ADD": 11, "DEL": 5, "CHECK": 3, "STATUS": 51, "GC": 100} {
		a := newAgent(t, func(*wire.Request) *wire.Response {
			return &wire.Response{Error: &wire.Error{Code: int(code), Message: "no more", Details: "pool \"blue\" has 62 addresses"}}
		})
		invocation{verb: verb, config: with(asIPAM, `"prevResult":{},"cni.dev/valid-attachments":[]`)}.fails(t, a.socket, code, "no more",
			"62 addresses")
		if asked := a.asked(); len(asked) != 1 || asked[0].Verb != verb {
			t.Errorf("%s: the agent was asked %d times: want once", verb, len(asked))
		}
	}
}

func TestAnAgentThatAnswersWithoutAResultIsNotBelieved(t *testing.T) {
	a := newAgent(t, func(*wire.Request) *wire.Response { return &wire.Response{} })
	invocation{config: asInterface}.fails(t, a.socket, 999, a.socket, "0 results")
}

// annotated is the part of a configuration by which a runtime hands on a pod's annotation.
func annotated(name, value string) string {
	return fmt.Sprintf(`"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{%q:%q}}`, name, value)
}

func TestADelIsDoneForANameThatNoAddWouldTake(t *testing.T) {
	a := newAgent(t, granted)
	invocation{verb: "DEL", config: with(asInterface, `"bridge":"br%d","uplnk":"eth1"`), ifname: "eth%d"}.succeeds(t, a.socket)
	if c := a.one(t).Containers[0]; c.Interface != "eth%d" {
		t.Errorf("the agent is asked to delete interface %q: want eth%%d", c.Interface)
	}
}
