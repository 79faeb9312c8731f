package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("container runtimes need root: run it as root")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	f := fetcher{ctx, filepath.Join(cache, "berth-runtimes")}
	t := &tools{built: filepath.Join(f.dir, "bin"), newPlugins: filepath.Join(f.dir, "cni-"+cniPlugins), oldPlugins: "/usr/lib/cni"}
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
	dir string
}

func (f fetcher) debian(*tools) error {
	var missing []string
	for name, program := range debian {
		if !there(program) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := f.run("", "apt-get", "update"); err != nil {
		return err
	}
	return f.run("", "apt-get", append([]string{"install", "-y", "--no-install-recommends"}, missing...)...)
}

func (f fetcher) containerd(t *tools) error {
	const module = "github.com/containerd/containerd/v2"
	for _, program := range []string{"containerd", "containerd-shim-runc-v2"} {
		// No name of Debian's: its containerd is to find its own shim.
		to := filepath.Join(f.dir, "containerd-"+containerd2, program)
		if err := f.build(to, module+"/cmd/"+program, module, containerd2, "-tags", "no_btrfs,no_aufs,no_zfs,no_devmapper"); err != nil {
			return err
		}
	}
	return nil
}

func (f fetcher) nerdctl(t *tools) error {
	const module = "github.com/containerd/nerdctl"
	return f.build(filepath.Join(t.built, "nerdctl"), module+"/cmd/nerdctl", module, nerdctl)
}

// crictl's module is called otherwise than its path says, and it wants the staging repositories of Kubernetes.
func (f fetcher) crictl(t *tools) error {
	const called, lies = "github.com/kubernetes-sigs/cri-tools", "sigs.k8s.io/cri-tools"
	to := filepath.Join(t.built, "crictl")
	if there(to) {
		return nil
	}
	listed, err := exec.CommandContext(f.ctx, "sh", "-c",
		`cat "$(go mod download -json k8s.io/kubernetes@v`+kubernetes+` | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')"`).Output()
	if err != nil {
		return fmt.Errorf("the modules of Kubernetes %s: %w", kubernetes, err)
	}
	replace := []string{"-replace", called + "=" + lies + "@" + criTools, "-replace", "k8s.io/kubernetes=k8s.io/kubernetes@v" + kubernetes}
	for line := range strings.Lines(string(listed)) {
		name, _, staged := strings.Cut(strings.TrimSpace(line), " => ./staging/")
		if staged {
			replace = append(replace, "-replace", name+"="+name+"@v0"+strings.TrimPrefix(kubernetes, "1"))
		}
	}
	return f.buildIn(to, called+"/cmd/crictl", append([]string{"-require", called + "@" + criTools}, replace...))
}

func (f fetcher) plugins(t *tools) error {
	for _, plugin := range []string{"main/bridge", "main/loopback", "meta/portmap"} {
		if there(filepath.Join(t.newPlugins, filepath.Base(plugin))) {
			continue
		}
		if err := f.run("", "env", "CGO_ENABLED=0", "GOBIN="+t.newPlugins, "go", "install", "-ldflags", "-s -w",
			"github.com/containernetworking/plugins/plugins/"+plugin+"@"+cniPlugins); err != nil {
			return err
		}
	}
	return nil
}

// build builds a program of a module.
func (f fetcher) build(to, program, module, version string, flags ...string) error {
	return f.buildIn(to, program, []string{"-require", module + "@" + version}, flags...)
}

// buildIn builds a program in a throw-away module of its own: many modules cannot be installed by their path, since they
// replace others.
func (f fetcher) buildIn(to, program string, edits []string, flags ...string) error {
	if there(to) {
		return nil
	}
	dir := filepath.Join(f.dir, "modules", filepath.Base(program))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := fmt.Sprintf("//go:build tools\n\npackage tools\n\nimport _ %q\n", program)
	if err := os.WriteFile(filepath.Join(dir, "tools.go"), []byte(source), 0o644); err != nil {
		return err
	}
	fmt.Println("building", filepath.Base(program), "into", filepath.Dir(to))
	for _, command := range [][]string{
		{"go", "mod", "init", "berth.dev/runtimes"},
		append([]string{"go", "mod", "edit"}, edits...),
		{"go", "mod", "tidy"},
		append(append([]string{"env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to}, flags...), program),
	} {
		if err := f.run(dir, command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (f fetcher) run(dir, name string, args ...string) error {
	command := exec.CommandContext(f.ctx, name, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, tail(string(output)))
	}
	return nil
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tail is the end of an output, which has the cause.
func tail(output string) string {
	const most = 1500
	return strings.TrimSpace(output[max(0, len(output)-most):])
}
