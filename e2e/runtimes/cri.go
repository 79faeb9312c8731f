package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cri is a containerd as the kubelet uses it.
type cri struct {
	*daemon
	called, with, crictl string
	reportsStatus        bool // it asks the plugins for STATUS (CNI 1.1.0)
}

func (c *cri) name() string             { return c.called }
func (c *cri) plugins() string          { return c.with }
func (c *cri) calls(name string) string { return "shop/" + name }

func (c *cri) ctl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, c.crictl, append([]string{"--runtime-endpoint", "unix://" + containerdSocket, "--timeout", "60s"}, args...)...)
}

// sandbox makes a pod without containers.
func (c *cri) sandbox(ctx context.Context, name string, hostPort int) (id, config string, err error) {
	pod := map[string]any{
		"metadata": map[string]any{"name": name, "namespace": "shop", "uid": "uid-" + name},
		"hostname": name, "log_directory": "/run/logs", "linux": map[string]any{},
	}
	if hostPort != 0 {
		pod["port_mappings"] = []any{map[string]any{"container_port": inImage, "host_port": hostPort}}
	}
	if config, err = write("pod-"+name, pod); err != nil {
		return "", "", err
	}
	id, err = c.ctl(ctx, "runp", config)
	return id, config, err
}

func (c *cri) run(ctx context.Context, _, name string, hostPort int) (string, error) {
	pod, config, err := c.sandbox(ctx, name, hostPort)
	if err != nil {
		return pod, err
	}
	container, err := write("container-"+name, map[string]any{
		"metadata": map[string]any{"name": "server"}, "image": map[string]any{"image": image}, "command": server,
		"log_path": name + ".log", "linux": map[string]any{},
	})
	if err != nil {
		return pod, err
	}
	id, err := c.ctl(ctx, "create", "--no-pull", pod, container, config)
	if err != nil {
		return pod, err
	}
	_, err = c.ctl(ctx, "start", id)
	return pod, err
}

func (c *cri) exec(ctx context.Context, pod string, command ...string) (string, error) {
	id, err := c.ctl(ctx, "ps", "-q", "--pod", pod)
	if err != nil {
		return "", err
	}
	return c.ctl(ctx, append([]string{"exec", id}, command...)...)
}

func (c *cri) remove(ctx context.Context, pod string) error {
	if _, err := c.ctl(ctx, "stopp", pod); err != nil {
		return err
	}
	_, err := c.ctl(ctx, "rmp", "-f", pod)
	return err
}

// networkReady is the condition that the kubelet makes a node NotReady for.
func (c *cri) networkReady(ctx context.Context) error {
	text, err := c.ctl(ctx, "info")
	if err != nil {
		return err
	}
	var info struct {
		Status struct {
			Conditions []struct {
				Type, Reason, Message string
				Status                bool
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return err
	}
	for _, condition := range info.Status.Conditions {
		if condition.Type == "NetworkReady" {
			if condition.Status {
				return nil
			}
			return fmt.Errorf("NetworkReady is false: %s: %s", condition.Reason, condition.Message)
		}
	}
	return fmt.Errorf("there is no condition NetworkReady: %s", strings.Join(strings.Fields(text), " "))
}

func write(name string, value any) (string, error) {
	path := filepath.Join("/run", name+".json")
	return path, os.WriteFile(path, marshal(value), 0o644)
}
