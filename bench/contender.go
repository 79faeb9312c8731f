package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A contender is a plugin with its configuration.
type contender struct {
	name   string
	plugin string // path of the program
	path   string // CNI_PATH
	config map[string]any
}

// A pair is two contenders that do the same.
type pair struct {
	what        string
	berth, peer contender
}

func contenders(binaries, plugins, socket string) []pair {
	path := binaries + ":" + plugins
	hostLocal := map[string]any{
		"type":    "host-local",
		"dataDir": "/run/host-local", // in memory, as Berth's journal is
		"ranges":  [][]any{{map[string]any{"subnet": "10.43.0.0/16", "gateway": "10.43.0.1"}}},
	}
	config := func(name string, more map[string]any) map[string]any {
		all := map[string]any{"cniVersion": "1.1.0", "name": name}
		maps.Copy(all, more)
		return all
	}
	return []pair{{
		what: "interface",
		berth: contender{"berth", filepath.Join(binaries, "berth"), path, config("bench-berth",
			map[string]any{"type": "berth", "socket": socket})},
		peer: contender{"bridge + host-local", filepath.Join(plugins, "bridge"), path, config("bench-bridge",
			map[string]any{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipam": hostLocal})},
	}, {
		what: "IPAM",
		berth: contender{"berth", filepath.Join(binaries, "berth"), path, config("bench-berth-ipam",
			map[string]any{"type": "bridge", "ipam": map[string]any{"type": "berth", "socket": socket}})},
		peer: contender{"host-local", filepath.Join(plugins, "host-local"), path, config("bench-host-local",
			map[string]any{"type": "bridge", "ipam": hostLocal})},
	}, {
		what: "routed",
		berth: contender{"berth, routed", filepath.Join(binaries, "berth"), path, config("bench-routed",
			map[string]any{"type": "berth", "socket": socket, "pool": "routed"})},
		peer: contender{"berth, flat", filepath.Join(binaries, "berth"), path, config("bench-flat",
			map[string]any{"type": "berth", "socket": socket})},
	}}
}

// A container is what a runtime knows of one.
type container struct {
	id, netns string
	result    json.RawMessage // of ADD
}

// run executes the plugin and tells how long that took, from before the start to the end of the process. It goes about
// it as libcni does (invoke.RawExec): three pipes, and the ADD's result given back to DEL.
func (c *contender) run(ctx context.Context, verb string, of *container) (time.Duration, error) {
	config := c.config
	if of.result != nil {
		config = maps.Clone(config)
		config["prevResult"] = of.result
	}
	input, err := json.Marshal(config)
	if err != nil {
		return 0, err
	}
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, c.plugin)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), &stdout, &stderr
	command.Env = append(os.Environ(),
		"CNI_COMMAND="+verb, "CNI_CONTAINERID="+of.id, "CNI_NETNS="+of.netns, "CNI_IFNAME=eth0", "CNI_PATH="+c.path,
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME="+of.id)
	began := time.Now()
	err = command.Run()
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("%s of %s for %s: %w: %s%s", verb, c.name, of.id, err, &stdout, &stderr)
	}
	if verb == "ADD" {
		of.result = stdout.Bytes()
		return took, checkAddress(of.result)
	}
	return took, nil
}

func checkAddress(result []byte) error {
	var answer struct {
		IPs []struct{ Address string }
	}
	if err := json.Unmarshal(result, &answer); err != nil {
		return fmt.Errorf("ADD answered %s: %w", result, err)
	}
	if len(answer.IPs) == 0 {
		return fmt.Errorf("ADD answered no address: %s", result)
	}
	return nil
}
