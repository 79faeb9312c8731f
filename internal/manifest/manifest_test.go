package manifest

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

const smallest = `
pools:
  - name: default
    cidrs: [10.42.0.0/16]
    stateful: [10.42.0.0/20]
    gateways: [10.42.0.1]
`

func parse(t *testing.T, text string) *Manifest {
	t.Helper()
	m, err := Parse("pools.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheSmallestFileGivesAPoolWithDefaults(t *testing.T) {
	m := parse(t, smallest)
	want := allocator.Pool{
		Name:      "default",
		CIDRs:     []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
		Stateful:  []netip.Prefix{netip.MustParsePrefix("10.42.0.0/20")},
		Gateways:  []netip.Addr{netip.MustParseAddr("10.42.0.1")},
		BlockSize: allocator.BlockSize{V4: 26, V6: 122},
		Reuse:     allocator.Duration(10 * time.Minute),
		Cooldown:  allocator.Duration(30 * time.Second),
	}
	if len(m.Pools) != 1 || !reflect.DeepEqual(m.Pools[0], want) {
		t.Errorf("got %+v\nwant %+v", m.Pools, want)
	}
	if m.Settings != nil {
		t.Errorf("the file does not name settings, but they are %+v", m.Settings)
	}
}

func TestTheExamplesAreValidAndTheLongOneHasEveryKey(t *testing.T) {
	for _, name := range []string{"pool.yaml", "pools.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "deploy", "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if err := allocator.Overlap(m.Pools...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name != "pools.yaml" {
			continue
		}
		for _, field := range reflect.VisibleFields(reflect.TypeFor[allocator.Pool]()) {
			shown := func(p allocator.Pool) bool { return !reflect.ValueOf(p).FieldByIndex(field.Index).IsZero() }
			// a file seldom says the one, and never the other
			if !slices.ContainsFunc(m.Pools, shown) && !slices.Contains([]string{"Draining", "Former"}, field.Name) {
				t.Errorf("%s: no pool shows the key of %s", name, field.Name)
			}
		}
		if m.Settings == nil || !reflect.DeepEqual(*m.Settings, record.DefaultSettings()) {
			t.Errorf("%s: settings are %+v, but the comments say that they are the defaults", name, m.Settings)
		}
	}
}

func TestAFlatPoolIsTheSameWhetherItSaysSoOrNot(t *testing.T) {
	for words, want := range map[string]allocator.Mode{"": allocator.Flat, ", mode: flat": allocator.Flat, ", mode: ": allocator.Flat,
		", mode: routed": allocator.Routed, ", mode: vxlan": allocator.VXLAN, ", mode: auto": allocator.Auto} {
		if pool := parse(t, "pools: [{name: a, cidrs: [10.0.0.0/16]"+words+"}]").Pools[0]; pool.Mode != want {
			t.Errorf("with %q the mode is %v, want %v", words, pool.Mode, want)
		}
	}
	if pool := parse(t, "pools: [{name: a, cidrs: [10.0.0.0/16], mode: routed, ipMasq: true}]").Pools[0]; !pool.Layer3() || !pool.IPMasq {
		t.Errorf("read is %+v", pool)
	}
}

// Agents of releases without the key read settings that say the defaults.
func TestTheDefaultsOfVXLANAreNotWrittenDown(t *testing.T) {
	for text, want := range map[string]record.VXLAN{
		"": {}, "vxlan: {}": {}, "vxlan: {id: 98, port: 4789}": {},
		"vxlan: {port: 8472}": {ID: 98, Port: 8472}, "vxlan: {id: 7}": {ID: 7, Port: 4789},
	} {
		s := parse(t, "settings: {"+text+"}\npools: []").Settings
		written, err := json.Marshal(s)
		if s.VXLAN != want || err != nil || strings.Contains(string(written), "vxlan") != (want != record.VXLAN{}) {
			t.Errorf("%q is read as %+v, and written as %s, %v", text, s.VXLAN, written, err)
		}
	}
}

func TestAnExplicitZeroIsNotTheDefault(t *testing.T) {
	pool := parse(t, "pools: [{name: a, cidrs: [10.0.0.0/16], reuse: 0, cooldown: 0s}]").Pools[0]
	if pool.Reuse != 0 || pool.Cooldown != 0 {
		t.Errorf("reuse %s and cooldown %s, want 0s as written", pool.Reuse, pool.Cooldown)
	}
}

func TestJSONIsAcceptedAsYAMLIs(t *testing.T) {
	m := parse(t, `{"pools": [{"name": "default", "cidrs": ["10.42.0.0/16"], "stateful": ["10.42.0.0/20"], "gateways": ["10.42.0.1"]}]}`)
	if !reflect.DeepEqual(m, parse(t, smallest)) {
		t.Errorf("JSON gave %+v, YAML something else", m)
	}
}

func TestAnAnchorStandsForItsValue(t *testing.T) {
	m := parse(t, `
pools:
  - {name: a, cidrs: [10.0.0.0/16], dns: &dns {nameservers: [10.0.0.53]}}
  - {name: b, cidrs: [10.1.0.0/16], dns: *dns}
`)
	if !reflect.DeepEqual(m.Pools[0].DNS, m.Pools[1].DNS) || len(m.Pools[1].DNS.Nameservers) != 1 {
		t.Errorf("pool b has dns %+v, want that of pool a", m.Pools[1].DNS)
	}
}

func TestWhatAFileDoesNotNameIsUntouched(t *testing.T) {
	strange := record.DefaultSettings()
	strange.Session = allocator.Duration(7 * time.Second)
	other := allocator.Pool{Name: "other", MTU: 1234}
	old := allocator.Pool{Name: "default", MTU: 1400}
	base := &config.Config{Revision: 7, Settings: strange, Pools: map[string]allocator.Pool{"other": other, "default": old}}

	next := parse(t, smallest).On(base)
	if !reflect.DeepEqual(next.Pools["other"], other) {
		t.Errorf("pool other became %+v", next.Pools["other"])
	}
	if !reflect.DeepEqual(next.Settings, strange) {
		t.Errorf("settings became %+v", next.Settings)
	}
	if next.Pools["default"].MTU != 0 {
		t.Errorf("the mtu of the pool that the file names stayed %d, want its default", next.Pools["default"].MTU)
	}
	if next.Revision != 7 || base.Pools["default"].MTU != 1400 {
		t.Errorf("the base changed, or its revision did not come along: %+v", base)
	}

	next = parse(t, "settings: {addressLease: 2h}").On(base)
	want := record.DefaultSettings()
	want.AddressLease = allocator.Duration(2 * time.Hour)
	if !reflect.DeepEqual(next.Settings, want) {
		t.Errorf("settings became %+v, want the default of each key that the file leaves out: %+v", next.Settings, want)
	}
}

func TestADrainingGoesOnUnlessTheFileSaysOtherwise(t *testing.T) {
	draining := allocator.Pool{Name: "default", Draining: true}
	base := &config.Config{Pools: map[string]allocator.Pool{"default": draining}}
	for words, want := range map[string]bool{"": true, "    draining: true": true, "    draining: false": false} {
		if next := parse(t, smallest+words).On(base); next.Pools["default"].Draining != want {
			t.Errorf("with %q it is draining: %t", words, !want)
		}
	}
	for words, want := range map[string]bool{"": false, "    draining: true": true} {
		if next := parse(t, smallest+words).On(&config.Config{}); next.Pools["default"].Draining != want {
			t.Errorf("a new one with %q is draining: %t", words, !want)
		}
	}
}

func TestACIDRIsDrainedAsTheFileSays(t *testing.T) {
	for _, text := range []string{
		"pools: [{name: a, cidrs: [10.0.0.0/16, {cidr: 10.1.0.0/24, drain: true}, {cidr: 10.2.0.0/24, drain: false}, {cidr: 10.3.0.0/24}]}]",
		"pools: [{name: a, cidrs: [10.0.0.0/16, 10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24], drainingCIDRs: [10.1.0.0/24]}]", // as get writes it
	} {
		pool := parse(t, text).Pools[0]
		if len(pool.CIDRs) != 4 || len(pool.DrainingCIDRs) != 1 || pool.DrainingCIDRs[0] != pool.CIDRs[1] {
			t.Errorf("%s: the CIDRs are %v, draining %v", text, pool.CIDRs, pool.DrainingCIDRs)
		}
	}
	_, err := Parse("f.yaml", []byte("pools: [{name: a, cidrs: [{cidr: 10.0.0.0/16, drian: true}]}]"))
	if err == nil || !strings.Contains(err.Error(), `unknown key "drian": did you mean "drain"?`) {
		t.Errorf("the error is %v", err)
	}
}

func TestANewClusterTakesAManifest(t *testing.T) {
	if next := parse(t, smallest).On(&config.Config{}); len(next.Pools) != 1 {
		t.Errorf("got %+v, want the pool", next)
	}
}

func TestAFaultNamesItsLineAndWhatWouldBeRight(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown key":        {"pools:\n  - name: a\n    cidr: [10.0.0.0/16]", []string{"f.yaml:3: ", `"cidr"`, `did you mean "cidrs"?`}},
		"unknown key on top": {"pool: []", []string{"f.yaml:1: ", `did you mean "pools"?`}},
		"unknown setting":    {"settings:\n  sesion: 15s", []string{"f.yaml:2: ", `did you mean "session"?`}},
		"unknown inner key": {"pools:\n- {name: a, cidrs: [10.0.0.0/16],\n   blockSize: {ipv4: 26}}",
			[]string{"f.yaml:3: ", "blockSize", "v4"}},
		"far from all keys": {"weather: fine", []string{"f.yaml:1: ", "want one of pools, settings"}},
		"key twice": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mtu: 1400\n  mtu: 1500",
			[]string{"f.yaml:5: ", `"mtu" is there twice`, "line 4"}},
		"pool twice": {"pools:\n- {name: a, cidrs: [10.0.0.0/16]}\n- {name: a, cidrs: [10.1.0.0/16]}",
			[]string{"f.yaml:3: ", `pool "a" is there twice`, "line 2"}},
		"pools twice":     {"pools: []\nsettings: {}\npools: []", []string{"f.yaml:3: ", "twice", "line 1"}},
		"bad CIDR":        {"pools:\n- name: a\n  cidrs: [10.0.0.0]", []string{"f.yaml:3: ", `cidrs "10.0.0.0"`, "want a CIDR such as"}},
		"CIDR not a list": {"pools:\n- name: a\n  cidrs: 10.0.0.0/16", []string{"f.yaml:3: ", "cidrs: want a list"}},
		"malformed address": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  gateways:\n  - 10.0.0.300",
			[]string{"f.yaml:5: ", `gateways "10.0.0.300"`, "want an address", ">255"}},
		"bad range": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  exclude: [10.0.0.9-10.0.0.3]",
			[]string{"f.yaml:4: ", "10.0.0.3-10.0.0.9"}},
		"another mode": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mode: rooted",
			[]string{"f.yaml:4: ", `mode "rooted": want flat, routed, vxlan or auto (did you mean "routed"?)`}},
		"no mode at all": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mode: weather",
			[]string{"f.yaml:4: ", `mode "weather": want flat, routed, vxlan or auto`}},
		"empty mode":      {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mode: ''", []string{"f.yaml:4: ", `mode "": want flat, routed, vxlan or auto`}},
		"mode mistyped":   {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mod: routed", []string{"f.yaml:4: ", `did you mean "mode"?`}},
		"ipMasq mistyped": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  ipmasq: true", []string{"f.yaml:4: ", `did you mean "ipMasq"?`}},
		"ipMasq of a flat pool": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  ipMasq: true",
			[]string{"f.yaml:4: ", "the networks of a flat pool say it"}},
		"a routed pool's gateway": {"pools:\n- name: a\n  mode: routed\n  cidrs: [10.0.0.0/16]\n  gateways: [10.0.0.1]",
			[]string{"f.yaml:5: ", "a pool of mode routed has none to configure", "169.254.1.1"}},
		"a routed pool's gatewayOnLink": {"pools:\n- name: a\n  mode: routed\n  cidrs: [10.0.0.0/16]\n  gatewayOnLink: true",
			[]string{"f.yaml:5: ", "leave the key out"}},
		"a routed pool's CIDR": {"pools:\n- name: a\n  mode: routed\n  mtu: 1400\n  cidrs: [169.254.0.0/16]",
			[]string{"f.yaml:5: ", "169.254.0.0/16"}},
		"a routed pool's via": {"pools:\n- name: a\n  mode: routed\n  cidrs: [10.0.0.0/16]\n  routes: [{to: 10.9.0.0/16, via: 10.0.0.1}]",
			[]string{"f.yaml:5: ", "leave via out"}},
		"a wide VXLAN id":     {"settings:\n  vxlan:\n    id: 16777216", []string{"f.yaml:3: ", "vxlan id", "1 to 16777215"}},
		"port 0 of VXLAN":     {"settings:\n  vxlan:\n    port: 0", []string{"f.yaml:3: ", "vxlan port", "1 to 65535"}},
		"bad number":          {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  mtu: big", []string{"f.yaml:4: ", `mtu "big"`, "whole number"}},
		"number without unit": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  reuse: 600", []string{"f.yaml:4: ", `reuse "600"`, "10m"}},
		"negative duration":   {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  reuse: -1s", []string{"f.yaml:4: ", "reuse"}},
		"no name":             {"pools:\n- cidrs: [10.0.0.0/16]", []string{"f.yaml:2: ", "name is missing"}},
		"no CIDR":             {"pools:\n\n- name: a", []string{"f.yaml:3: ", "cidrs is missing"}},
		"unaligned stateful": {"pools:\n- name: a\n  cidrs: [10.0.0.0/16]\n  stateful: [10.0.0.0/28]",
			[]string{"f.yaml:4: ", "10.0.0.0/28", "10.0.0.0/26"}},
		"too small CIDR":  {"pools:\n- name: a\n  cidrs: [10.0.0.0/28]", []string{"f.yaml:3: ", "10.0.0.0/28", "blockSize"}},
		"bad setting":     {"pools: []\nsettings: {session: 1s}", []string{"f.yaml:2: ", "session", "2s"}},
		"pool is a word":  {"pools:\n- default", []string{"f.yaml:2: ", `not "default"`}},
		"pool is nothing": {"pools:\n-", []string{"f.yaml:2: ", "not nothing"}},
		"a list on top":   {"- name: a", []string{"f.yaml:1: ", "not a list"}},
		"syntax":          {"pools:\n- name: [a", []string{"f.yaml:"}},
		"a tab":           {"pools:\n\t- name: a", []string{"f.yaml:2: ", "tab", "want spaces"}},
		"no UTF-8":        {"pools:\n- name: a\xff", []string{"f.yaml:2: ", "want a file of UTF-8 text"}},
		"two documents":   {"pools: []\n---\npools: []", []string{"f.yaml:", "second document"}},
		"empty":           {"", []string{"f.yaml: ", "empty"}},
		"comments alone":  {"# nothing\n", []string{"f.yaml: ", "empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Parse("f.yaml", []byte(c.text))
			if err == nil {
				t.Fatalf("no error, but %+v", m)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := Parse("f.yaml", []byte("pools:\n- name: a\n  cidrs: [10.0.0.0]\n  mtu: big\nsettings: {session: soon}"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults, a line each; got: %v", err)
	}
}

func TestASetNamesContainers(t *testing.T) {
	set, err := ParseSet("set.yaml", []byte(`
containers:
  - {id: a, netns: /run/netns/a}
  - {id: b, pid: 42, network: lab, interface: net1, role: ipam, class: stateful, namespace: shop, app: db, member: db-0,
     pool: lab, addresses: [10.42.0.7], mac: "be:00:00:00:00:01", bridge: br7, uplink: eth1, masquerade: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []client.Container{{ID: "a", Netns: "/run/netns/a"}, {
		ID: "b", PID: 42, Network: "lab", Interface: "net1", Role: "ipam", Class: "stateful", Namespace: "shop", App: "db", Member: "db-0",
		Pool: "lab", Addresses: []netip.Addr{netip.MustParseAddr("10.42.0.7")}, MAC: "be:00:00:00:00:01", Bridge: "br7", Uplink: "eth1",
		Masquerade: true,
	}}
	if !reflect.DeepEqual(set, want) {
		t.Errorf("got %+v\nwant %+v", set, want)
	}
	second := reflect.ValueOf(set[1])
	for i := range second.NumField() {
		if name := second.Type().Field(i).Name; second.Field(i).IsZero() && name != "Netns" {
			t.Errorf("no key of a set fills in %s", name)
		}
	}
	for text, want := range map[string]string{
		"containers:\n- {id: a}\n- {app: web}":            "set.yaml:3: container: id is missing",
		"containers:\n- {id: a, netnss: /a}":              `did you mean "netns"?`,
		"pools: []":                                       "containers",
		"containers:\n- {id: a, masquerade: soon}":        "true or false",
		"containers:\n- {id: a}\n- {id: b, bridge: br%d}": `set.yaml:3: bridge "br%d": want the name of an interface`,
		"containers:\n- {id: a, interface: default}":      `interface "default"`,
		"containers:\n- {id: a, uplink: a/b}":             `uplink "a/b"`,
	} {
		if _, err := ParseSet("set.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
