package main

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

const (
	asInterface = `{"cniVersion":"1.1.0","name":"net","type":"berth","socket":"SOCKET"}`
	asIPAM      = `{"cniVersion":"1.1.0","name":"net","type":"bridge","bridge":"cni0","ipam":{"type":"berth","socket":"SOCKET"}}`
)

// with adds keys to a JSON object.
func with(object, keys string) string { return strings.TrimSuffix(object, "}") + "," + keys + "}" }

// inIPAM adds keys to the "ipam" of a JSON object.
func inIPAM(object, keys string) string { return strings.TrimSuffix(object, "}}") + "," + keys + "}}" }

// granted is the answer to everything; it looks like that to an ADD.
func granted(r *wire.Request) *wire.Response {
	if r.Operation != wire.Insert {
		return &wire.Response{Revision: &wire.Revision{Revision: 7, Applied: 6}}
	}
	return &wire.Response{Results: []wire.Result{{
		Class: "stateless", Pool: "default",
		Addresses: []wire.Address{
			{Address: netip.MustParsePrefix("10.42.16.9/16"), Gateway: netip.MustParseAddr("10.42.0.1")},
			{Address: netip.MustParsePrefix("fd00:42::9/64"), Gateway: netip.MustParseAddr("fd00:42::1")},
		},
		Routes: []wire.Route{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.42.0.1")},
			{To: netip.MustParsePrefix("10.96.0.0/12")},
		},
		DNS: &wire.DNS{Nameservers: []string{"10.42.0.53"}, Domain: "cluster.local", Search: []string{"svc.cluster.local"}},
		MAC: "be:00:0a:2a:10:09", HostName: "bth0123456789ab", HostMAC: "be:01:0a:2a:10:09", Bridge: "berth0", BridgeMAC: "be:02:00:00:00:01",
		MTU: 1450,
	}}}
}

func TestAnAddIsTranslated(t *testing.T) {
	a := newAgent(t, granted)
	base := func(change func(*wire.Container)) wire.Container {
		c := wire.Container{Network: "net", ID: "c1", Interface: "eth0", Netns: netns, NetnsFile: 1, Role: wire.Interface,
			Namespace: "default", Pool: "default", Bridge: "berth0"}
		if change != nil {
			change(&c)
		}
		return c
	}
	ipam := func(change func(*wire.Container)) wire.Container {
		c := base(func(c *wire.Container) { c.Role, c.Bridge = wire.IPAM, "" })
		if change != nil {
			change(&c)
		}
		return c
	}
	const annotations = `"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"berth.dev/class":"stateful","berth.dev/app":"a","berth.dev/member":"a-0","berth.dev/pool":"green","berth.dev/addresses":"10.42.0.7, fd00::7","other":"x","berth.io/class":"x"}}`
	annotated := func(c *wire.Container) {
		c.Class, c.App, c.Member, c.Pool, c.Addresses = "stateful", "a", "a-0", "green", []string{"10.42.0.7", "fd00::7"}
	}
	for name, test := range map[string]struct {
		config, args string
		want         wire.Container
	}{
		"the smallest interface configuration": {asInterface, "", base(nil)},
		"the smallest IPAM configuration":      {asIPAM, "", ipam(nil)},
		"every key of the interface role": {
			with(asInterface, `"pool":"blue","class":"stateful","bridge":"br1","uplink":"eth1","ipMasq":true`), "",
			base(func(c *wire.Container) {
				c.Pool, c.Class, c.Bridge, c.Uplink, c.IPMasq = "blue", "stateful", "br1", "eth1", true
			}),
		},
		"every key of the IPAM role": {
			inIPAM(asIPAM, `"pool":"blue","class":"stateful"`), "",
			ipam(func(c *wire.Container) { c.Pool, c.Class = "blue", "stateful" }),
		},
		"the other plugin's keys of the same names": {
			with(asIPAM, `"pool":7,"class":[],"uplink":{},"ipMasq":"yes","prevResult":{"ips":[]}`), "", ipam(nil),
		},
		"the interface role with its own name as IPAM": {
			with(asInterface, `"ipam":{"type":"berth","pool":"blue"}`), "", base(func(c *wire.Container) { c.Pool = "blue" }),
		},
		"keys that are nobody's, and null": {
			with(asInterface, `"mtu":{"a":1},"cni.dev/x":1,"args":null,"runtimeConfig":null,"prevResult":null,"ipam":{}`), "", base(nil),
		},
		"CNI_ARGS": {
			asInterface, "BERTH_CLASS=stateful;BERTH_NAMESPACE=shop;BERTH_APP=db;BERTH_MEMBER=db-0",
			base(func(c *wire.Container) { c.Class, c.Namespace, c.App, c.Member = "stateful", "shop", "db", "db-0" }),
		},
		"CNI_ARGS in the IPAM role": {
			asIPAM, "BERTH_APP=web;IP=10.42.0.7;MAC=be:00:00:00:00:01",
			ipam(func(c *wire.Container) { c.App, c.Addresses = "web", []string{"10.42.0.7"} }),
		},
		"CNI_ARGS of Kubernetes": {
			asInterface, "K8S_POD_UID=u;K8S_POD_NAME=web-1;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_INFRA_CONTAINER_ID=c1;FOO=bar",
			base(func(c *wire.Container) {
				c.Namespace, c.Member = "shop", "web-1"
				c.Workload = wire.Workload{Namespace: "shop", Name: "web-1", UID: "u"}
			}),
		},
		"CNI_ARGS of Nomad": {
			asInterface, "NOMAD_ALLOC_ID=a;NOMAD_JOB_ID=web;NOMAD_GROUP_NAME=front;NOMAD_NAMESPACE=shop;NOMAD_REGION=global",
			base(func(c *wire.Container) { c.Workload = wire.Workload{Namespace: "shop", Name: "web/front", UID: "a"} }),
		},
		"CNI_ARGS of Podman": {
			asInterface, "IgnoreUnknown=1;K8S_POD_NAME=web", base(func(c *wire.Container) {
				c.Member, c.Workload = "web", wire.Workload{Name: "web"}
			}),
		},
		"Berth's arguments before those of Kubernetes": {
			asInterface, "K8S_POD_NAME=web-1;K8S_POD_NAMESPACE=shop;BERTH_MEMBER=m;BERTH_NAMESPACE=n;",
			base(func(c *wire.Container) {
				c.Namespace, c.Member, c.Workload = "n", "m", wire.Workload{Namespace: "shop", Name: "web-1"}
			}),
		},
		"args before CNI_ARGS": {
			with(asInterface, `"args":{"cni":{"labels":[{"key":"a","value":"b"}],"ips":["10.42.0.9/16"],"mac":"be:00:00:00:00:02","berth":{"class":"stateful","namespace":"n","app":"a","member":"m"}}}`),
			"BERTH_CLASS=stateless;BERTH_NAMESPACE=shop;BERTH_APP=db;BERTH_MEMBER=db-0;IP=10.42.0.7;MAC=be:00:00:00:00:01",
			base(func(c *wire.Container) {
				c.Class, c.Namespace, c.App, c.Member = "stateful", "n", "a", "m"
				c.Addresses, c.MAC = []string{"10.42.0.9/16"}, "be:00:00:00:00:02"
			}),
		},
		"CNI_ARGS before the configuration": {
			with(asInterface, `"class":"stateful"`), "BERTH_CLASS=stateless", base(func(c *wire.Container) { c.Class = "stateless" }),
		},
		"an address and a MAC in CNI_ARGS": {
			asInterface, "IP=10.42.0.7/16;MAC=be:00:00:00:00:01",
			base(func(c *wire.Container) { c.Addresses, c.MAC = []string{"10.42.0.7/16"}, "be:00:00:00:00:01" }),
		},
		"capabilities before args": {
			with(asInterface, `"args":{"cni":{"ips":["10.42.0.9"]}},"runtimeConfig":{"ips":["10.42.0.8","fd00::8/64"],"mac":"be:00:00:00:00:03"}`),
			"IP=10.42.0.7;MAC=be:00:00:00:00:01",
			base(func(c *wire.Container) {
				c.Addresses, c.MAC = []string{"10.42.0.8", "fd00::8/64"}, "be:00:00:00:00:03"
			}),
		},
		"annotations before the configuration": {
			with(asInterface, annotations+`,"class":"stateless","pool":"blue"`), "", base(annotated),
		},
		"annotations before the pod's name, in the IPAM role": {
			with(asIPAM, annotations), "K8S_POD_NAME=web-1", ipam(func(c *wire.Container) { annotated(c); c.Workload.Name = "web-1" }),
		},
		"CNI_ARGS before annotations": {
			with(asInterface, annotations), "BERTH_APP=db",
			base(func(c *wire.Container) { annotated(c); c.App = "db" }),
		},
		"capabilities that say nothing, or merely inform": {
			with(asInterface, `"runtimeConfig":{"portMappings":[],"bandwidth":{"ingressRate":0,"egressRate":0},"aliases":null,"deviceID":"","cgroupPath":"/a.slice","org.example":[1]}`),
			"", base(nil),
		},
		"capabilities of the plugin above": {
			with(asIPAM, `"runtimeConfig":{"mac":"be:00:00:00:00:03","portMappings":[{"hostPort":1}],"deviceID":"0000:04:00.5","ips":["10.42.0.8"]}`),
			"", ipam(func(c *wire.Container) { c.Addresses = []string{"10.42.0.8"} }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			invocation{config: test.config, args: test.args}.succeeds(t, a.socket)
			r := a.one(t)
			if r.Operation != wire.Insert || r.Verb != "ADD" || r.Started <= 0 || len(r.Containers) != 1 {
				t.Fatalf("the request is %+v: want an insert of one container", r)
			}
			if got := r.Containers[0]; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v\nwant %+v", got, test.want)
			}
		})
	}
}

func TestOnlyWhatIsSaidOfTheContainerMakesAnApp(t *testing.T) {
	a := newAgent(t, granted)
	invocation{config: asInterface, args: "IgnoreUnknown=true;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1"}.succeeds(t, a.socket)
	if c := a.one(t).Containers[0]; c.App != "" || c.Class != "" {
		t.Errorf("a pod's names alone make it app %q of class %q: want neither", c.App, c.Class)
	}
}

func TestTheStartedTimeIsThePluginsOwn(t *testing.T) {
	a := newAgent(t, granted)
	before := int64(clock.Boottime())
	invocation{config: asInterface}.succeeds(t, a.socket)
	if started := a.one(t).Started; started < before || started > int64(clock.Boottime()) {
		t.Errorf("the request says that it began at %d, and it was called at %d", started, before)
	}
}
