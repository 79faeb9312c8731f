package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// podman is Podman 4 with its networks from CNI.
type podman struct{ with string }

const podmanConfig = `[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["` + binDir + `"]
network_config_dir = "` + confDir + `"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`

func (p *podman) name() string             { return "Podman 4.3 (CNI)" }
func (p *podman) plugins() string          { return p.with }
func (p *podman) calls(name string) string { return name }
func (p *podman) end()                     {}

func (p *podman) start(ctx context.Context) error {
	if err := os.WriteFile("/run/containers.conf", []byte(podmanConfig), 0o644); err != nil {
		return err
	}
	if err := os.Setenv("CONTAINERS_CONF", "/run/containers.conf"); err != nil {
		return err
	}
	_, err := p.ctl(ctx, "load", "-i", archivePath)
	return err
}

func (p *podman) ctl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "/usr/bin/podman", args...)
}

func (p *podman) run(ctx context.Context, network, name string, hostPort int) (string, error) {
	return p.ctl(ctx, runArguments("--network", network, name, hostPort, `["/bin/busybox"]`)...)
}

func (p *podman) exec(ctx context.Context, id string, command ...string) (string, error) {
	return p.ctl(ctx, append([]string{"exec", id}, command...)...)
}

func (p *podman) remove(ctx context.Context, id string) error {
	_, err := p.ctl(ctx, "rm", "-f", "-t", "0", id)
	return err
}

// runArguments are those of "run" as Podman and nerdctl take them.
func runArguments(flag, network, name string, hostPort int, entrypoint string) []string {
	args := []string{"run", "-d", "--name", name, flag, network, "--entrypoint", entrypoint}
	if hostPort != 0 {
		args = append(args, "-p", fmt.Sprintf("%d:%d", hostPort, inImage))
	}
	return append(append(args, image), server[1:]...)
}

// nerdctlEngine is nerdctl on Debian's containerd.
type nerdctlEngine struct {
	*daemon
	with, program string
}

func (n *nerdctlEngine) name() string        { return "nerdctl " + nerdctl }
func (n *nerdctlEngine) plugins() string     { return n.with }
func (n *nerdctlEngine) calls(string) string { return "" } // it does not tell plugins its containers' names

func (n *nerdctlEngine) start(ctx context.Context) error {
	if err := n.daemon.start(ctx); err != nil {
		return err
	}
	_, err := n.ctl(ctx, "load", "-i", archivePath)
	return err
}

func (n *nerdctlEngine) ctl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, n.program, append(
		strings.Fields("--address "+containerdSocket+" --cgroup-manager cgroupfs --cni-path "+binDir+" --cni-netconfpath "+confDir), args...)...)
}

func (n *nerdctlEngine) run(ctx context.Context, network, name string, hostPort int) (string, error) {
	return n.ctl(ctx, runArguments("--net", network, name, hostPort, "/bin/busybox")...)
}

func (n *nerdctlEngine) exec(ctx context.Context, id string, command ...string) (string, error) {
	return n.ctl(ctx, append([]string{"exec", id}, command...)...)
}

func (n *nerdctlEngine) remove(ctx context.Context, id string) error {
	_, err := n.ctl(ctx, "rm", "-f", id)
	return err
}
