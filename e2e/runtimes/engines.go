package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/berth-ipam/berth/e2e/lab"
)

// An engine is a container runtime.
type engine interface {
	name() string
	plugins() string // the directory of the CNI project's plugins that belong to its time
	start(ctx context.Context) error
	end()
	// run starts a container that serves page, on a port of the host if it is not 0, in the network of a CNI file.
	run(ctx context.Context, network, name string, hostPort int) (id string, err error)
	exec(ctx context.Context, id string, command ...string) (string, error)
	remove(ctx context.Context, id string) error
	// calls is what Berth shows of a container of this name.
	calls(name string) string
}

func engines(m *machine) []engine {
	oldest := &daemon{program: "/usr/bin/containerd"}
	newest := &daemon{program: filepath.Join(filepath.Dir(m.tools.built), "containerd-"+containerd2, "containerd")}
	return []engine{
		&cri{daemon: oldest, called: "containerd 1.6 (CRI)", with: m.tools.oldPlugins, crictl: filepath.Join(m.tools.built, "crictl")},
		&cri{daemon: newest, called: "containerd " + containerd2 + " (CRI)", with: m.tools.newPlugins,
			crictl: filepath.Join(m.tools.built, "crictl"), reportsStatus: true},
		&podman{with: m.tools.oldPlugins},
		&nerdctlEngine{daemon: oldest, with: m.tools.oldPlugins, program: filepath.Join(m.tools.built, "nerdctl")},
	}
}

const containerdSocket = "/run/containerd/containerd.sock"

// containerdConfig differs from containerd's own defaults in what a sandbox cannot do.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image + `"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "` + confDir + `"
    bin_dir = "` + binDir + `"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

// A daemon is a containerd.
type daemon struct {
	program string
	process *exec.Cmd
}

// start starts it afresh: what another release of it has written is not its to read.
func (d *daemon) start(ctx context.Context) error {
	entries, err := os.ReadDir("/var/lib/containerd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join("/var/lib/containerd", e.Name())); err != nil {
			return err
		}
	}
	if err := os.RemoveAll("/run/containerd"); err != nil {
		return err
	}
	if err := os.WriteFile("/run/containerd.toml", []byte(containerdConfig), 0o644); err != nil {
		return err
	}
	log, err := os.OpenFile("/run/containerd.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	d.process = exec.Command(d.program, "--config", "/run/containerd.toml")
	d.process.Stdout, d.process.Stderr = log, log
	d.process.Env = append(os.Environ(), "PATH="+filepath.Dir(d.program)+":"+os.Getenv("PATH"))
	if err := d.process.Start(); err != nil {
		return err
	}
	return lab.Eventually(ctx, "containerd takes the image", func() error {
		_, err := run(ctx, "/usr/bin/ctr", "-a", containerdSocket, "-n", "k8s.io", "images", "import", archivePath)
		return err
	})
}

func (d *daemon) end() {
	if d.process != nil {
		_ = d.process.Process.Signal(syscall.SIGTERM)
		_ = d.process.Wait()
		d.process = nil
	}
}
