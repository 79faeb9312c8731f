package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/berth-ipam/berth/e2e/target"
)

const (
	containerd2 = "v2.4.2"
	nerdctl     = "v1.7.7"
	cniPlugins  = "v1.9.1"
	criTools    = "v1.30.0"
	kubernetes  = "1.30.4" // whose staging repositories crictl is built from
)

// debian are the packages that hold the oldest runtimes, and a program of each.
var debian = map[string]string{
	"containerd": "/usr/bin/containerd", "runc": "/usr/sbin/runc", "podman": "/usr/bin/podman", "iptables": "/usr/sbin/iptables",
	"containernetworking-plugins": "/usr/lib/cni/portmap", "busybox-static": "/bin/busybox",
}

// tools are where the programs lie that the stories need.
type tools struct {
	berth      string // berth, berthd, berthctl
	built      string // containerd 2.x with its shim, nerdctl, crictl
	newPlugins string // the CNI project's, of its newest release
	oldPlugins string // and of Debian's
}

// fetch installs and builds what is not there yet. Inside of the sandbox all of it is there.
func fetch(ctx context.Context) (*tools, error) {
	cache, err := target.NewCache("berth-runtimes")
	if err != nil {
		return nil, err
	}
	f := fetcher{ctx, cache}
	t := &tools{built: filepath.Join(f.Dir, "bin"), newPlugins: filepath.Join(f.Dir, "cni-"+cniPlugins), oldPlugins: "/usr/lib/cni"}
	for _, dir := range []string{t.built, t.newPlugins} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(*tools) error{f.debian, f.containerd, f.nerdctl, f.crictl, f.plugins} {
		if err := step(t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

type fetcher struct {
	ctx context.Context
	target.Cache
}

func (f fetcher) debian(*tools) error { return f.Debian(f.ctx, debian) }

func (f fetcher) containerd(t *tools) error {
	const module = "github.com/containerd/containerd/v2"
	for _, program := range []string{"containerd", "containerd-shim-runc-v2"} {
		// No name of Debian's: its containerd is to find its own shim.
		to := filepath.Join(f.Dir, "containerd-"+containerd2, program)
		err := f.Build(f.ctx, to, module+"/cmd/"+program, module, containerd2, "-tags", "no_btrfs,no_aufs,no_zfs,no_devmapper")
		if err != nil {
			return err
		}
	}
	return nil
}

func (f fetcher) nerdctl(t *tools) error {
	const module = "github.com/containerd/nerdctl"
	return f.Build(f.ctx, filepath.Join(t.built, "nerdctl"), module+"/cmd/nerdctl", module, nerdctl)
}

// crictl's module is called otherwise than its path says, and it wants the staging repositories of Kubernetes.
func (f fetcher) crictl(t *tools) error {
	const called, lies = "github.com/kubernetes-sigs/cri-tools", "sigs.k8s.io/cri-tools"
	to := filepath.Join(t.built, "crictl")
	if target.There(to) {
		return nil
	}
	staging, err := f.StagingOf(f.ctx, kubernetes)
	if err != nil {
		return err
	}
	edits := append([]string{"-require", called + "@" + criTools, "-replace", called + "=" + lies + "@" + criTools}, staging...)
	return f.BuildIn(f.ctx, to, called+"/cmd/crictl", edits)
}

func (f fetcher) plugins(t *tools) error {
	for _, plugin := range []string{"main/bridge", "main/loopback", "meta/portmap"} {
		if err := f.Install(f.ctx, t.newPlugins, "github.com/containernetworking/plugins/plugins/"+plugin, cniPlugins); err != nil {
			return err
		}
	}
	return nil
}
