package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// pluginsIn in the environment names a directory that has the CNI project's plugins already.
const pluginsIn = "BERTH_LAB_CNI"

// pluginsVersion is that of the CNI project's plugins which Berth is tested under and measured beside.
const pluginsVersion = "v1.9.1"

// Plugins gives a directory with plugins of the CNI project, built once from the
// module proxy into .cache of the tree. Like Build it is called before Enter, and again inside.
func Plugins() (dir string, err error) {
	if dir := os.Getenv(pluginsIn); dir != "" || os.Getenv(etcdJobIn) != "" {
		return dir, nil
	}
	tree, err := tree()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(tree, ".cache", "cni-"+pluginsVersion)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	for _, plugin := range []string{
		"main/bridge", "main/loopback", "ipam/host-local", "meta/bandwidth", "meta/portmap", "meta/sbr", "meta/tuning",
	} {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(plugin))); err == nil {
			continue
		}
		command := exec.Command("go", "install", "-ldflags", "-s -w", "github.com/containernetworking/plugins/plugins/"+plugin+"@"+pluginsVersion)
		command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
		if output, err := command.CombinedOutput(); err != nil {
			return "", fmt.Errorf("lab: %v: %w: %s", command, err, strings.TrimSpace(string(output)))
		}
	}
	return dir, os.Setenv(pluginsIn, dir)
}
