package conformance

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

var (
	pluginFlag = flag.String("plugin", "", "`path` of another CNI plugin that TestConformance is to try, with -conf")
	confFlag   = flag.String("conf", "", "`file` with that plugin's configuration")
)

// conformancePools have a pool of each choice of families, and a small one beside it. The default pool is there for
// the lab.
const conformancePools = `pools:
  - name: default
    cidrs: [10.42.0.0/16]
  - {name: wide4, cidrs: [10.50.0.0/16], gateways: [10.50.0.1]}
  - {name: wide6, cidrs: ["fd50::/64"], gateways: ["fd50::1"]}
  - {name: wide46, cidrs: [10.51.0.0/16, "fd51::/64"], gateways: [10.51.0.1, "fd51::1"]}
  - {name: small4, cidrs: [10.52.0.0/29], blockSize: {v4: 29}}
  - {name: small6, cidrs: ["fd52::/125"], blockSize: {v6: 125}}
  - {name: small46, cidrs: [10.53.0.0/29, "fd53::/125"], blockSize: {v4: 29, v6: 125}}
settings:
  statusExhausted: true # the specification's "should", which is off by default
`

// aMinuteLater runs a program in a time namespace (time_namespaces(7)) whose boot clock is ahead: GC spares what is
// younger than a minute.
var aMinuteLater = []string{"unshare", "--time", "--boottime", "120", "--fork"}

// families are the choices that a network has.
var families = map[string]struct {
	families []int
	requests []string
	gateways []string // of the bridge plugin's own IPAM, which it is compared with
}{
	"4":  {[]int{4}, []string{"10.50.9.7/16"}, []string{"10.50.0.0/16"}},
	"6":  {[]int{6}, []string{"fd50::9:7/64"}, []string{"fd50::/64"}},
	"46": {[]int{4, 6}, []string{"10.51.9.7/16", "fd51::9:7/64"}, []string{"10.51.0.0/16", "fd51::/64"}},
}

func TestConformance(t *testing.T) {
	if *pluginFlag != "" {
		conforms(t, foreignSubject(t), nil, Versions...)
		return
	}
	l := labtest.New(t, lab.Options{Binaries: binaries, Alone: true}, conformancePools)
	for family := range families {
		t.Run("interface/IPv"+family, func(t *testing.T) {
			s := subject(l, family)
			s.Role, s.MAC = Interface, true
			s.Config = map[string]any{"type": "berth", "socket": l.Nodes[0].Socket(), "pool": "wide" + family, "bridge": "cf" + family}
			s.Small = map[string]any{"pool": "small" + family}
			conforms(t, s, nil, versions(family)...)
		})
		t.Run("ipam/IPv"+family, func(t *testing.T) {
			s := subject(l, family)
			s.Role = IPAM
			s.Config = map[string]any{"type": "other", "ipam": berthIPAM(l, "wide"+family)}
			s.Small = map[string]any{"ipam": berthIPAM(l, "small"+family)}
			conforms(t, s, nil, versions(family)...)
		})
	}
}

// TestConformanceUnderBridge tries Berth's addresses under the CNI project's bridge. A row that fails under bridge
// with host-local too is bridge's own failure.
func TestConformanceUnderBridge(t *testing.T) {
	if *pluginFlag != "" {
		t.Skip("-plugin names another plugin")
	}
	if noPeers != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPeers)
	}
	l := labtest.New(t, lab.Options{Binaries: binaries, Alone: true}, conformancePools)
	for family, choice := range families {
		t.Run("IPv"+family, func(t *testing.T) {
			s := subject(l, family)
			s.Plugin, s.Path = filepath.Join(peers, "bridge"), []string{binaries}
			s.Role, s.Requests, s.Away = Interface, nil, nil // requests are tried on Berth alone
			s.Config = map[string]any{"type": "bridge", "bridge": "br" + family, "isGateway": true, "ipam": berthIPAM(l, "wide"+family)}
			s.Small = map[string]any{"isGateway": false, "ipam": berthIPAM(l, "small"+family)}
			s.Patience = 5 * time.Second
			var ranges []any
			for _, subnet := range choice.gateways {
				ranges = append(ranges, []any{map[string]any{"subnet": subnet}})
			}
			alone := *s
			alone.Small, alone.Later, alone.Patience = nil, nil, time.Second
			alone.Held = func(context.Context) (int, error) {
				files, err := filepath.Glob("/run/host-local/*/*[.:]*")
				return len(files) / len(ranges), err
			}
			alone.Config = maps.Clone(s.Config)
			alone.Config["bridge"] = "hl" + family
			alone.Config["ipam"] = map[string]any{"type": "host-local", "dataDir": "/run/host-local", "ranges": ranges}
			versions := Versions
			if family != "46" { // the versions differ no more by family than in the roles above
				versions = versions[len(versions)-1:]
			}
			conforms(t, s, &alone, versions...)
		})
	}
}

// versions are those that a choice of families is tried at: all of them where an answer has both families. A family alone is
// tried at the oldest and at the newest, since each of these has the form of an answer that one more version has.
func versions(family string) []string {
	if family == "46" {
		return Versions
	}
	return []string{Versions[0], Versions[len(Versions)-1]}
}

func subject(l *lab.Lab, family string) *Subject {
	node := l.Nodes[0]
	s := &Subject{
		Plugin: filepath.Join(binaries, "berth"), Netns: node.Netns(), Families: families[family].families, Later: aMinuteLater,
		Held: func(ctx context.Context) (int, error) {
			n, err := node.Metric(ctx, "berth_attachments")
			return int(n), err
		},
	}
	for _, request := range families[family].requests {
		s.Requests = append(s.Requests, netip.MustParsePrefix(request))
	}
	if family == "46" { // an agent is slow to be missed: once is enough
		s.Away = func(ctx context.Context) (func() error, error) {
			return func() error { return node.Start(ctx) }, node.Stop()
		}
	}
	return s
}

func berthIPAM(l *lab.Lab, pool string) map[string]any {
	return map[string]any{"type": "berth", "socket": l.Nodes[0].Socket(), "pool": pool}
}

// conforms tries every row that applies at each version. A row that the excuse fails too is listed, no failure.
func conforms(t *testing.T, s, excuse *Subject, versions ...string) {
	for _, one := range []*Subject{s, excuse} {
		if one != nil { // what the first ADD makes for good is no leftover
			Warm(t.Context(), one)
		}
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			held := 0
			for _, row := range Rows() {
				if !row.Applies(s) {
					continue
				}
				verdict := Try(t.Context(), s, row, version)
				switch {
				case len(verdict.Failures) == 0:
					held++
				case excuse != nil && len(Try(t.Context(), excuse, row, version).Failures) > 0:
					t.Logf("also with its own IPAM plugin: %v", verdict)
				default:
					t.Error(verdict)
				}
			}
			t.Logf("%d rows hold", held)
		})
	}
}

// foreignSubject is the plugin that the flags name, in a node of its own.
func foreignSubject(t *testing.T) *Subject {
	text, err := os.ReadFile(*confFlag)
	if err != nil {
		t.Fatalf("-conf: %v", err)
	}
	var conf struct {
		Plugins []map[string]any `json:"plugins"`
	}
	plugin := map[string]any{}
	if err := json.Unmarshal(text, &conf); err != nil {
		t.Fatalf("-conf: %s: %v", *confFlag, err)
	}
	if len(conf.Plugins) > 0 {
		plugin = conf.Plugins[0]
	} else if err := json.Unmarshal(text, &plugin); err != nil {
		t.Fatalf("-conf: %s: %v", *confFlag, err)
	}
	delete(plugin, "cniVersion")
	delete(plugin, "name")
	path, err := filepath.Abs(*pluginFlag)
	if err != nil {
		t.Fatal(err)
	}
	s := &Subject{Plugin: path, Config: plugin, Netns: "/run/netns/foreign", Role: Interface}
	if ipam, _ := plugin["ipam"].(map[string]any); plugin["type"] != filepath.Base(path) && ipam["type"] == filepath.Base(path) {
		s.Role = IPAM
	}
	if err := sandbox.Namespace(s.Netns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sandbox.Remove(s.Netns); err != nil {
			t.Error(fmt.Errorf("the node: %w", err))
		}
	})
	return s
}
