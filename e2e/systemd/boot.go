package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// hostname is the machine's, and with that its node's name.
const hostname = "host1"

// boot makes a file system out of root, with what is changed in dir, and becomes its systemd. It runs in the machine's namespaces.
func boot(root, dir, tree string) error {
	b := booting{at: filepath.Join(dir, "root")}
	b.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	b.mount("scratch", b.layer(dir, "layers"), "tmpfs", 0, "")
	upper, work := b.layer(dir, "layers/upper"), b.layer(dir, "layers/work")
	b.layer(dir, "root")
	b.mount("overlay", b.at, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", root, upper, work))
	b.in("proc", "proc", "proc", "")
	b.in("sysfs", "sys", "sysfs", "")
	b.in("cgroup2", "sys/fs/cgroup", "cgroup2", "")
	b.in("tmpfs", "run", "tmpfs", "mode=755")
	b.in("tmpfs", "tmp", "tmpfs", "mode=1777")
	b.in("tmpfs", "dev", "tmpfs", "mode=755")
	b.in("devpts", "dev/pts", "devpts", "newinstance,ptmxmode=0666")
	b.in("tmpfs", "dev/shm", "tmpfs", "mode=1777")
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		b.bind("/dev/"+device, "dev/"+device)
	}
	b.try(os.Symlink("pts/ptmx", filepath.Join(b.at, "dev/ptmx")))
	b.try(os.Symlink("/proc/self/fd", filepath.Join(b.at, "dev/fd")))
	b.try(os.WriteFile(filepath.Join(b.at, "etc/hostname"), []byte(hostname+"\n"), 0o644))
	b.try(os.WriteFile(filepath.Join(b.at, "etc/hosts"), []byte("127.0.0.1 localhost "+hostname+"\n"), 0o644))
	// What somebody has who builds: the tree, Go, and the modules.
	src := b.layer(dir, "layers/src")
	if out, err := exec.Command("cp", "-a", tree+"/.", src).CombinedOutput(); err != nil {
		b.try(fmt.Errorf("copy the tree: %w: %s", err, out))
	}
	b.bind(src, "src")
	b.bind(goEnv("GOROOT"), "usr/local/go")
	b.bind(goEnv("GOMODCACHE"), "go/mod")
	b.bind(goEnv("GOCACHE"), "go/cache")
	old := b.layer(b.at, ".old")
	b.try(unix.PivotRoot(b.at, old))
	b.try(os.Chdir("/"))
	b.try(unix.Unmount("/.old", unix.MNT_DETACH))
	if b.err != nil {
		return b.err
	}
	return unix.Exec("/lib/systemd/systemd", []string{"systemd", "--log-target=console"},
		[]string{"container=berth", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
}

// booting makes mounts until one fails.
type booting struct {
	at  string
	err error
}

func (b *booting) try(err error) {
	if b.err == nil {
		b.err = err
	}
}

// layer makes a directory.
func (b *booting) layer(dir, name string) string {
	path := filepath.Join(dir, name)
	b.try(os.MkdirAll(path, 0o755))
	return path
}

func (b *booting) mount(source, target, kind string, flags uintptr, data string) {
	if b.err == nil {
		if err := unix.Mount(source, target, kind, flags, data); err != nil {
			b.err = fmt.Errorf("mount %s: %w", target, err)
		}
	}
}

// in mounts a file system below the machine's root.
func (b *booting) in(source, target, kind, data string) {
	b.mount(source, b.layer(b.at, target), kind, 0, data)
}

// bind shows a file or directory of this machine's on the other one.
func (b *booting) bind(from, to string) {
	target := filepath.Join(b.at, to)
	info, err := os.Stat(from)
	switch {
	case err != nil:
		b.try(err)
		return
	case info.IsDir():
		b.layer(b.at, to)
	default:
		b.try(os.WriteFile(target, nil, 0o644))
	}
	b.mount(from, target, "", unix.MS_BIND|unix.MS_REC, "")
}

func goEnv(name string) string {
	value, err := exec.Command("go", "env", name).Output()
	if err != nil {
		panic(errors.Join(errors.New("go env "+name), err))
	}
	return strings.TrimSpace(string(value))
}
