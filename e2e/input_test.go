package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func TestBadInputIsRefusedInWordsAndChangesNothing(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	good := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"berth","type":"berth","socket":%q}`, node.Socket())
	bare := strings.Replace(good, `"name":"berth",`, "", 1)
	env := func(id, netns string, more ...string) []string {
		return append(more, "CNI_COMMAND=ADD", "CNI_CONTAINERID="+id, "CNI_NETNS="+netns, "CNI_IFNAME=eth0")
	}
	c := container(t, node, l)
	for name, test := range map[string]struct {
		config string
		env    []string
		code   int
		words  []string
	}{
		"malformed JSON":          {"{", env(c.ID, c.Netns), 6, nil},
		"no network name":         {bare, env(c.ID, c.Netns), 7, []string{"name"}},
		"an unknown pool":         {with(good, `"pool":"blue"`), env(c.ID, c.Netns), 7, []string{"blue", "default"}},
		"a pool that is a number": {with(good, `"pool":7`), env(c.ID, c.Netns), 6, nil},
		"an unknown class": {with(good, `"class":"sticky"`), env(c.ID, c.Netns), 7,
			[]string{"sticky", "stateful", "stateless"}},
		"an unknown class in CNI_ARGS": {good, env(c.ID, c.Netns, "CNI_ARGS=BERTH_CLASS=sticky"), 0,
			[]string{"sticky", "stateful", "stateless"}},
		"a container ID with a slash": {good, env("a/b", c.Netns), 4, []string{"CNI_CONTAINERID"}},
		"a container ID with control": {good, env("a\x01b", c.Netns), 4, []string{"CNI_CONTAINERID"}},
		"no network namespace":        {good, env(c.ID, ""), 4, []string{"CNI_NETNS"}},
		"an app name with a slash":    {good, env(c.ID, c.Netns, "CNI_ARGS=BERTH_APP=a/b"), 0, []string{"app", "a/b"}},
		"an app name with control":    {good, env(c.ID, c.Netns, "CNI_ARGS=BERTH_APP=a\tb"), 0, []string{"app"}},
		"a stateful member without an app": {good, env(c.ID, c.Netns, "CNI_ARGS=BERTH_CLASS=stateful;BERTH_NAMESPACE=shop;BERTH_MEMBER=db-0"),
			0, []string{"app"}},
		"a stateful app without a member": {good, env(c.ID, c.Netns, "CNI_ARGS=BERTH_CLASS=stateful;BERTH_NAMESPACE=shop;BERTH_APP=db"), 0,
			[]string{"member"}},
		"a namespace that is a file":         {good, env(c.ID, "/proc/self/status"), 8, []string{"/proc/self/status"}},
		"a namespace that is another kind's": {good, env(c.ID, "/proc/self/ns/uts"), 8, []string{"/proc/self/ns/uts"}},
		"a namespace that is not there":      {good, env(c.ID, "/run/netns/absent"), 8, []string{"/run/netns/absent"}},
		"the node's own namespace":           {good, env(c.ID, node.Netns()), 8, nil},
		"an unknown version":                 {strings.Replace(good, "1.1.0", "9.0.0", 1), env(c.ID, c.Netns), 1, []string{"9.0.0"}},
		"an uplink that is not there":        {with(good, `"uplink":"eth7"`), env(c.ID, c.Netns), 0, []string{"eth7"}},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := node.Exec(t.Context(), "berth", test.config, test.env...)
			if err == nil {
				t.Fatalf("it succeeds with %s", output)
			}
			failure := cniError(t, output)
			if test.code != 0 && failure.Code != uint(test.code) {
				t.Errorf("code %d (%s): want %d", failure.Code, output, test.code)
			}
			says(t, failure.Msg+" "+failure.Details, test.words...)
			if links, err := c.Links(); err != nil || len(links) != 1 {
				t.Errorf("the container has the links %v, error %v: want lo alone", links, err)
			}
		})
	}
	restores(t, l, before)
}

// with adds a key to a JSON object.
func with(object, key string) string { return strings.TrimSuffix(object, "}") + "," + key + "}" }

func TestAForeignInterfaceOfThatNameIsLeftAlone(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := container(t, l.Nodes[0], l)
	c.Interface = "lo"
	_, err := c.Add(t.Context())
	refused(t, err, 0, "lo")
	if links, err := c.Links(); err != nil || len(links) != 1 {
		t.Errorf("the container has the links %v, error %v: want lo alone", links, err)
	}
	restores(t, l, before)
}

func TestAnExhaustedPoolSaysHowManyAddressesItHas(t *testing.T) {
	const usable = 13 // of the 16: network, broadcast and gateway are nobody's
	l := newLab(t, 1, `pools:
  - name: default
    cidrs: [10.42.0.0/28]
    gateways: [10.42.0.1]
    blockSize: {v4: 29}
`)
	node := l.Nodes[0]
	before := warm(t, l)
	var held []*lab.Container
	for range usable {
		c := container(t, node, l)
		add(t, c)
		held = append(held, c)
	}
	full := census(t, l)
	_, err := container(t, node, l).Add(t.Context())
	refused(t, err, 11, "default", fmt.Sprint(usable))
	restores(t, l, full)
	if err := node.CNIStatus(t.Context(), lab.Plain()); err != nil {
		t.Errorf("a full pool takes the whole node out of service: STATUS says %v", err)
	}
	del(t, held[0])
	add(t, container(t, node, l))
	for _, c := range held[1:] {
		del(t, c)
	}
	_ = before
}

func TestABadPoolIsRefusedWithWhatWouldBeRight(t *testing.T) {
	l := newLab(t, 1, onePool)
	config, err := l.Etcd.Get(t.Context(), "/berth/v1/config/")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		pools string
		words []string
	}{
		"overlap with another pool": {"pools:\n  - {name: blue, cidrs: [10.42.128.0/20]}\n", []string{"blue", "default", "overlap"}},
		"smaller than a block":      {"pools:\n  - {name: blue, cidrs: [10.50.0.0/28]}\n", []string{"10.50.0.0/28", "26"}},
		"unaligned stateful range": {"pools:\n  - {name: blue, cidrs: [10.50.0.0/16], stateful: [10.50.0.0/28]}\n",
			[]string{"10.50.0.0/28", "26"}},
		"stateful range outside": {"pools:\n  - {name: blue, cidrs: [10.50.0.0/16], stateful: [10.51.0.0/24]}\n",
			[]string{"10.51.0.0/24", "10.50.0.0/16"}},
		"gateway outside": {"pools:\n  - {name: blue, cidrs: [10.50.0.0/16], gateways: [10.51.0.1]}\n",
			[]string{"10.51.0.1", "10.50.0.0/16"}},
		"two CIDRs that overlap": {"pools:\n  - {name: blue, cidrs: [10.50.0.0/16, 10.50.128.0/17]}\n",
			[]string{"10.50.0.0/16", "10.50.128.0/17", "overlap"}},
		"host bits in the CIDR":       {"pools:\n  - {name: blue, cidrs: [10.50.0.1/16]}\n", []string{"10.50.0.1/16", "10.50.0.0/16"}},
		"an MTU too small":            {"pools:\n  - {name: blue, cidrs: [10.50.0.0/16], mtu: 100}\n", []string{"100", "576"}},
		"a smaller CIDR":              {"pools:\n  - {name: default, cidrs: [10.42.0.0/17]}\n", []string{"default", "10.42.0.0/16"}},
		"an unknown key":              {"pools:\n  - name: blue\n    cidr: [10.50.0.0/16]\n", []string{"cidr", "pools.yaml:3:"}},
		"an unknown fencing mode":     {"settings: {fencing: loose}\n", []string{"loose", "evidence"}},
		"a session that is too short": {"settings: {session: 1s}\n", []string{"1s", "2s"}},
		"not YAML":                    {"pools: [\n", []string{"pools.yaml:1:"}},
		"a pool name that is no name": {"pools:\n  - {name: a/b, cidrs: [10.50.0.0/16]}\n", []string{"a/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := labtest.Apply(t, l, test.pools)
			exit, ok := errors.AsType[*lab.ExitError](err)
			if !ok || exit.Code != 1 && exit.Code != 2 {
				t.Fatalf("it prints %q and ends with %v: want exit code 1 or 2", output, err)
			}
			says(t, exit.Stderr, test.words...)
		})
	}
	after, err := l.Etcd.Get(t.Context(), "/berth/v1/config/")
	if err != nil || fmt.Sprint(after) != fmt.Sprint(config) {
		t.Errorf("the configuration has changed: %v, error %v", after, err)
	}
}

func TestASecondAgentOfANodesNameIsRefused(t *testing.T) {
	l := newLab(t, 2, onePool)
	first, second := l.Nodes[0], l.Nodes[1]
	c := container(t, first, l)
	add(t, c)
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	second.Flags = []string{"--node", first.Name}
	if err := second.Launch(); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the second agent ends, or does not get ready, and says why", func() error {
		if second.Running() {
			_, body, err := second.HTTP(t.Context(), "/readyz")
			return fmt.Errorf("it runs: %s, error %v", body, err)
		}
		return nil
	})
	says(t, second.Log(5), first.Name)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("the first agent has suffered: %v", err)
	}
	add(t, container(t, first, l))
}
