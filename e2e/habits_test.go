package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// called is the plugin as a runtime would execute it for a container, not started yet. Its clock is shifted by whole
// seconds (time_namespaces(7)), so that it began before or after another for certain.
func called(c *lab.Container, verb string, shift int, keys map[string]any) *exec.Cmd {
	args := []string{filepath.Join(binaries, "berth")}
	if shift != 0 {
		args = append([]string{"unshare", "--time", "--boottime", fmt.Sprint(shift), "--fork"}, args...)
	}
	command := exec.Command(args[0], args[1:]...)
	config := map[string]any{"cniVersion": c.Network.Version, "name": c.Network.Name, "socket": c.Node.Socket()}
	maps.Copy(config, c.Network.Plugins[0])
	maps.Copy(config, keys)
	text, _ := json.Marshal(config) // of plain values
	command.Stdin = bytes.NewReader(text)
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "CNI_PATH=" + binaries, "CNI_COMMAND=" + verb,
		"CNI_CONTAINERID=" + c.ID, "CNI_IFNAME=" + c.Interface, "CNI_NETNS=" + c.Netns,
	}
	return command
}

// runs executes a command in the container's node.
func runs(c *lab.Container, command *exec.Cmd) error {
	output, err := commandOutput(c, command)
	if err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, output)
	}
	return nil
}

func commandOutput(c *lab.Container, command *exec.Cmd) (output []byte, err error) {
	err = sandbox.Within(c.Node.Netns(), func() (err error) {
		output, err = command.CombinedOutput()
		return err
	})
	return output, err
}

// starts starts a command in the container's node.
func starts(t *testing.T, c *lab.Container, command *exec.Cmd) {
	t.Helper()
	if err := sandbox.Within(c.Node.Netns(), command.Start); err != nil {
		t.Fatal(err)
	}
}

// holds expects the agent to count this many attachments.
func holds(t *testing.T, node *lab.Node, want float64) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("the agent holds %v attachments", want), func() error { return attachments(t.Context(), node, want) })
}

// inPlace expects the container to be as its ADD has left it.
func inPlace(t *testing.T, c *lab.Container) {
	t.Helper()
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("CHECK of %s: %v", c.ID, err)
	}
}

// backAfter is how long it takes until somebody else can be given the container's address.
func backAfter(t *testing.T, l *lab.Lab, c *lab.Container) time.Duration {
	t.Helper()
	began := time.Now()
	other := container(t, c.Node, l)
	other.Network = lab.Plain()
	address := c.Address.String()
	labtest.Eventually(t, address+" is back", func() error {
		return runs(other, called(other, "ADD", 0, map[string]any{"runtimeConfig": map[string]any{"ips": []string{address}}}))
	})
	took := time.Since(began)
	if err := runs(other, called(other, "DEL", 0, nil)); err != nil {
		t.Error(err)
	}
	return took
}

// killed ends a process as the kernel would, and reports whether it was still at work.
func killed(command *exec.Cmd) (bool, error) {
	if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, err
	}
	return command.Wait() != nil && command.ProcessState.ExitCode() == -1, nil
}
