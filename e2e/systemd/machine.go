package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A machine is a Debian with systemd as its first process, in namespaces of its own: what it changes is gone with it.
type machine struct {
	init  *exec.Cmd
	dir   string // its scratch directory
	group string // its control group
}

// packages are what a machine has on which somebody builds and installs Berth, besides Go.
const packages = "systemd,systemd-sysv,dbus,make,git,ca-certificates,iproute2,iputils-ping,sudo"

// system makes the machine's file system once, below the user's cache directory.
func system(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "berth", "systemd", "bookworm")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return "", fmt.Errorf("%w: `apt-get install debootstrap` first", err)
	}
	fmt.Println("making", root)
	unfinished := root + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.MkdirAll(unfinished, 0o755)); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+packages, "bookworm", unfinished)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("debootstrap: %w: %s", err, output)
	}
	return root, os.Rename(unfinished, root)
}

// start boots a machine on which the tree lies in /src, and waits until systemd has started all that it starts.
func start(ctx context.Context, root, tree string) (*machine, error) {
	dir, err := os.MkdirTemp("", "berth-systemd")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		return nil, err
	}
	defer console.Close()
	m.init = exec.Command(self, "boot", root, dir, tree)
	m.init.Stdout, m.init.Stderr = console, console
	m.init.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		Pdeathsig:  unix.SIGKILL,
	}
	group, err := m.controlGroup()
	if err != nil {
		return nil, errors.Join(err, m.stop())
	}
	defer group.Close()
	m.init.SysProcAttr.UseCgroupFD, m.init.SysProcAttr.CgroupFD = true, int(group.Fd())
	if err := m.init.Start(); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		state, _ := m.run(ctx, "systemctl is-system-running")
		if s := strings.TrimSpace(state); s == "running" || s == "degraded" { // a console that is none fails
			return m, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("systemd is not up: %q\n%s", state, m.console()), m.stop())
		}
	}
}

// controlGroup makes a control group of the unified hierarchy, which systemd takes for its root.
func (m *machine) controlGroup() (*os.File, error) {
	for _, mounted := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(mounted, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		m.group = filepath.Join(mounted, filepath.Base(m.dir))
		if err := os.Mkdir(m.group, 0o755); err != nil {
			return nil, err
		}
		return os.Open(m.group)
	}
	return nil, errors.New("no unified hierarchy of control groups is mounted: systemd needs one")
}

// run runs a line of shell as somebody who is logged in would, in the tree.
func (m *machine) run(ctx context.Context, line string) (string, error) {
	command := exec.CommandContext(ctx, "nsenter", "--target", fmt.Sprint(m.init.Process.Pid), "--mount", "--pid", "--net", "--uts", "--ipc",
		"--cgroup",
		"/usr/bin/env", "-i", "HOME=/root", "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"GOPROXY=off", "GOFLAGS=-buildvcs=false", "GOMODCACHE=/go/mod", "GOCACHE=/go/cache", "GOTOOLCHAIN=local",
		"/bin/bash", "-c", "cd /src && "+line)
	output, err := command.CombinedOutput()
	return string(output), err
}

func (m *machine) console() string {
	text, _ := os.ReadFile(filepath.Join(m.dir, "console"))
	return string(text)
}

// stop ends the machine with all that runs on it: it is the first of its processes.
func (m *machine) stop() error {
	if m.init.Process != nil {
		_ = m.init.Process.Kill()
		_ = m.init.Wait()
	}
	var err error
	if m.group != "" {
		for range 50 { // the groups below it are systemd's
			if err = removeGroups(m.group); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return errors.Join(err, os.RemoveAll(m.dir))
}

func removeGroups(group string) error {
	entries, _ := os.ReadDir(group)
	for _, e := range entries {
		if e.IsDir() {
			_ = removeGroups(filepath.Join(group, e.Name()))
		}
	}
	return os.Remove(group)
}
