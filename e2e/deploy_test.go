package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
)

// capabilityNumbers are those that the unit may name.
var capabilityNumbers = map[string]uintptr{
	"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN,
}

func TestTheCapabilitiesOfTheSystemdUnitAreEnough(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	for _, name := range strings.Fields(assigned(t, "../deploy/systemd/berthd.service", "CapabilityBoundingSet")) {
		node.Capabilities = append(node.Capabilities, capabilityNumbers[name])
	}
	if err := restart(t, node.Stop, node.Start); err != nil {
		t.Fatal(err)
	}
	a, b := container(t, node, l), container(t, node, l)
	add(t, a)
	add(t, b)
	reaches(t, a, b.Address)
	reaches(t, a, gateway.Addr())
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := a.Remove(); err != nil {
		t.Fatal(err)
	}
	shows(t, l, b)
	del(t, b)
	masqueraded := container(t, node, l)
	masqueraded.Network = lab.Plain()
	masqueraded.Network.Plugins[0]["bridge"], masqueraded.Network.Plugins[0]["ipMasq"] = "berth1", true
	add(t, masqueraded)
}

// TestTheShippedPoolOfKubernetesServesTheShippedNetwork takes portmap out of the network, which nothing installs here.
func TestTheShippedPoolOfKubernetesServesTheShippedNetwork(t *testing.T) {
	l := newLab(t, 2, document(t, "deploy/kubernetes/pool.yaml"))
	var network struct {
		Name    string
		Plugins []map[string]any
	}
	if err := json.Unmarshal([]byte(document(t, "deploy/cni/10-berth.conflist")), &network); err != nil {
		t.Fatal(err)
	}
	var pods []*lab.Container
	for _, node := range l.Nodes {
		pod := container(t, node, l)
		pod.Network = &lab.Network{Name: network.Name, Version: "1.1.0", Plugins: network.Plugins[:1]}
		add(t, pod)
		pods = append(pods, pod)
	}
	reaches(t, pods[0], pods[1].Address)
	reaches(t, pods[1], pods[0].Address)
	reaches(t, pods[0], l.Nodes[1].Address)
	if _, err := l.Nodes[0].Ping(pods[0].Address); err != nil {
		t.Errorf("the node does not reach its own pod, as the kubelet's probes do: %v", err)
	}
}

func assigned(t *testing.T, path, key string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("%s assigns no %s", path, key)
	return ""
}

func TestEveryVariableOfTheEnvironmentFileIsAFlag(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	help, err := l.Nodes[0].Berthd(t.Context(), "--help")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("../deploy/systemd/berthd.env")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	variables := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, _, assigns := strings.Cut(lines.Text(), "=")
		name, isVariable := strings.CutPrefix(strings.TrimPrefix(name, "#"), "BERTH_")
		if !assigns || !isVariable {
			continue
		}
		variables++
		says(t, help, "--"+strings.ReplaceAll(strings.ToLower(name), "_", "-"))
	}
	if variables == 0 {
		t.Error("the file names no variable")
	}
}
