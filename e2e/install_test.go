package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// TestTheReadmesInstallSectionGivesAContainerAnAddress does what the section says, below a directory of its own, and
// then what a container runtime would do. Only systemd is played: what the unit starts is started.
func TestTheReadmesInstallSectionGivesAContainerAnAddress(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the shipped configuration chains portmap, and the CNI project's plugins cannot be built here: ", noPlugins)
	}
	if err := unix.Mount("berth-install", "/var/lib", "tmpfs", 0, ""); err != nil { // where berthd keeps its etcd
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount("/var/lib", unix.MNT_DETACH) })
	const host = "/run/netns/host"
	if err := sandbox.Namespace(host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Remove(host) })
	root := t.TempDir()

	_, section, _ := strings.Cut(document(t, "README.md"), "### One machine")
	_, section, _ = strings.Cut(section, "```sh\n")
	section, _, _ = strings.Cut(section, "```")
	for line := range strings.Lines(section) {
		step := strings.TrimPrefix(strings.TrimSpace(line), "sudo ")
		switch {
		case step == "make build": // done by TestMain
		case step == "systemctl enable --now berthd":
			startUnit(t, host, root)
		default:
			step = strings.NewReplacer(" bin/", " "+binaries+"/", " /", " "+root+"/").Replace(step)
			if strings.HasPrefix(step, "berthctl") {
				step = root + "/usr/local/bin/" + step
			}
			labtest.Eventually(t, step, func() error { return inside(t.Context(), host, "sh", "-c", "cd .. && "+step) })
		}
	}

	list, err := libcni.ConfListFromFile(filepath.Join(root, "etc/cni/net.d/10-berth.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sandbox.Namespace("/run/netns/installed"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Remove("/run/netns/installed") })
	runtime := libcni.NewCNIConfigWithCacheDir([]string{filepath.Join(root, "opt/cni/bin"), plugins}, t.TempDir(),
		&invoke.DefaultExec{RawExec: &invoke.RawExec{}})
	arguments := &libcni.RuntimeConf{ContainerID: "installed", NetNS: "/run/netns/installed", IfName: "eth0"}
	labtest.Eventually(t, "the agent has the configuration", func() error {
		return sandbox.Within(host, func() error { return runtime.GetStatusNetworkList(t.Context(), list) })
	})
	err = sandbox.Within(host, func() error {
		if _, err := runtime.AddNetworkList(t.Context(), list, arguments); err != nil {
			return err
		}
		if err := runtime.CheckNetworkList(t.Context(), list, arguments); err != nil {
			return err
		}
		return runtime.DelNetworkList(t.Context(), list, arguments)
	})
	if err != nil {
		t.Error(err)
	}
}

// startUnit starts what the installed unit would, without the environment file, which is optional.
func startUnit(t *testing.T, host, root string) {
	t.Helper()
	unit := filepath.Join(root, "etc/systemd/system/berthd.service")
	agent := exec.Command(filepath.Join(root, assigned(t, unit, "ExecStart")))
	if err := sandbox.Within(host, agent.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = agent.Process.Signal(unix.SIGTERM)
		_ = agent.Wait()
	})
}

func inside(ctx context.Context, netns, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := sandbox.Within(netns, command.Run); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, output.String())
	}
	return nil
}
