package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/berth-ipam/berth/internal/wire"
)

// TestTheShippedConfigurationsAreUnderstood gives each plugin of each list what libcni would, with everything that the
// list's capabilities let a runtime say. A list names 1.0.0 for runtimes that speak no 1.1.0, and chains portmap, since
// a host port that nobody serves is silently without effect.
func TestTheShippedConfigurationsAreUnderstood(t *testing.T) {
	must(t, os.MkdirAll(filepath.Dir(defaultSocket), 0o700))
	a := newAgent(t, granted, defaultSocket)
	for file, want := range map[string]wire.Container{
		"10-berth.conflist":        {Role: wire.Interface, Bridge: "berth0", IPMasq: true, MAC: "be:00:00:00:00:01"},
		"10-bridge-berth.conflist": {Role: wire.IPAM},
	} {
		list, err := libcni.ConfListFromFile(filepath.Join("..", "..", "deploy", "cni", file))
		must(t, err)
		var older struct{ CNIVersion string }
		must(t, json.Unmarshal(list.Bytes, &older))
		if list.CNIVersion != "1.1.0" || older.CNIVersion != "1.0.0" {
			t.Errorf("%s: version %s, and %s for runtimes that know no cniVersions: want 1.1.0 and 1.0.0", file, list.CNIVersion, older.CNIVersion)
		}
		if len(list.Plugins) != 2 || list.Plugins[1].Network.Type != "portmap" || !list.Plugins[1].Network.Capabilities["portMappings"] {
			t.Fatalf("%s: it chains %d plugins: want Berth's, and portmap with its capability", file, len(list.Plugins))
		}
		said := map[string]any{}
		for capability, value := range map[string]any{
			"ips": []string{"10.42.0.7"}, "mac": "be:00:00:00:00:01",
			"io.kubernetes.cri.pod-annotations": map[string]string{"berth.dev/class": "stateful", "berth.dev/app": "db"},
		} {
			if list.Plugins[0].Network.Capabilities[capability] {
				said[capability] = value
			}
		}
		config, err := libcni.InjectConf(list.Plugins[0], map[string]any{"name": list.Name, "cniVersion": list.CNIVersion, "runtimeConfig": said})
		must(t, err)
		invocation{config: string(config.Bytes), args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0"}.succeeds(t, "")
		got := a.one(t).Containers[0]
		if got.Role != want.Role || got.Bridge != want.Bridge || got.IPMasq != want.IPMasq || got.MAC != want.MAC || got.Pool != "default" {
			t.Errorf("%s: the agent is asked for %+v: want %+v", file, got, want)
		}
		if got.Class != "stateful" || got.Namespace != "shop" || got.App != "db" || got.Member != "db-0" || len(got.Addresses) != 1 {
			t.Errorf("%s: the agent is asked for %+v: want the pod's own", file, got)
		}
	}
}
