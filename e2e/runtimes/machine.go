package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
	"github.com/berth-ipam/berth/internal/sandbox"
)

const (
	outside     = "/run/netns/outside" // another machine of the node's network
	nodeAddress = "192.0.2.11"
	confDir     = "/etc/cni/net.d"
	binDir      = "/opt/cni/bin"
	archivePath = "/run/image.tar"
)

// A machine is this sandbox as a node: its own /etc, /opt and /var/lib above those of the host, Berth at its default
// paths, and a network with another machine.
type machine struct {
	tree  string
	tools *tools
	agent *exec.Cmd
	log   *os.File
}

func newMachine(ctx context.Context, tree string, t *tools) (*machine, error) {
	m := &machine{tree: tree, tools: t}
	for _, dir := range []string{"/etc", "/opt", "/var/lib"} {
		if err := above(dir); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{"/var/lib/containerd", "/var/lib/containers", "/var/lib/nerdctl", "/var/lib/berth"} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755")); err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := errors.Join(m.network(), writeImage(archivePath, "/bin/busybox")); err != nil {
		return nil, err
	}
	var err error
	if m.log, err = os.Create("/run/berthd.log"); err != nil {
		return nil, err
	}
	if err := m.start(); err != nil {
		return nil, err
	}
	err = lab.Eventually(ctx, "berthd takes the example's pool", func() error {
		_, err := m.berthctl(ctx, "apply", "-f", filepath.Join(tree, "deploy/examples/pool.yaml"))
		return err
	})
	if err != nil {
		m.stop()
		log, _ := os.ReadFile(m.log.Name())
		return nil, fmt.Errorf("%w; berthd says: %s", err, target.Tail(string(log)))
	}
	return m, nil
}

// above puts an empty layer over a directory, so that nothing that is written there stays.
func above(dir string) error {
	layer := filepath.Join("/run/above", strings.ReplaceAll(dir, "/", "_"))
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755))
	if err == nil {
		err = unix.Mount("overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work))
	}
	if err != nil {
		return fmt.Errorf("a layer above %s: %w", dir, err)
	}
	return nil
}

// network joins the node with another machine, which is its router.
func (m *machine) network() error {
	if err := sandbox.Namespace(outside); err != nil {
		return err
	}
	far, err := netns.GetFromPath(outside)
	if err != nil {
		return err
	}
	defer far.Close()
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "eth0"
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(far))}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("the node's NIC: %w", err)
	}
	handle, err := netlink.NewHandleAt(far, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer handle.Close()
	here, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer here.Close()
	if err := errors.Join(addressed(here, nodeAddress), addressed(handle, "192.0.2.1")); err != nil {
		return err
	}
	return here.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.1")})
}

func addressed(h *netlink.Handle, address string) error {
	link, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	parsed, err := netlink.ParseAddr(address + "/24")
	if err != nil {
		return err
	}
	return errors.Join(h.AddrAdd(link, parsed), h.LinkSetUp(link))
}

// start starts the agent as its unit would.
func (m *machine) start() error {
	m.agent = exec.Command(filepath.Join(m.tools.berth, "berthd"), "--node", "n1", "--node-address", nodeAddress)
	m.agent.Stdout, m.agent.Stderr = m.log, m.log
	return m.agent.Start()
}

func (m *machine) stop() {
	if m.agent.Process != nil {
		_ = m.agent.Process.Signal(syscall.SIGTERM)
		_ = m.agent.Wait()
	}
}

// restart is what an upgrade does.
func (m *machine) restart() error {
	m.stop()
	return m.start()
}

func (m *machine) berthctl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, filepath.Join(m.tools.berth, "berthctl"), args...)
}

// An assignment is what people are shown of a container's address.
type assignment struct {
	Address    string                     `json:"address"`
	Attachment struct{ Container string } `json:"attachment"`
	Workload   struct{ Namespace, Name string }
}

func (m *machine) assignments(ctx context.Context) ([]assignment, error) {
	text, err := m.berthctl(ctx, "get", "assignments", "-o", "json")
	if err != nil {
		return nil, err
	}
	var all struct{ Assignments []assignment }
	return all.Assignments, json.Unmarshal([]byte(text), &all)
}

// install puts the plugins and one CNI file where its README says, and nothing else. The bridge of the other file, which has
// the same gateway, goes.
func (m *machine) install(file, plugins string) error {
	for _, bridge := range []string{"berth0", "cni0"} {
		if link, err := netlink.LinkByName(bridge); err == nil {
			if err := netlink.LinkDel(link); err != nil {
				return err
			}
		}
	}
	err := errors.Join(os.RemoveAll(confDir), os.RemoveAll(binDir), os.MkdirAll(confDir, 0o755), os.MkdirAll(binDir, 0o755))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(plugins)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyFile(filepath.Join(plugins, e.Name()), filepath.Join(binDir, e.Name()), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(
		copyFile(filepath.Join(m.tools.berth, "berth"), filepath.Join(binDir, "berth"), 0o755),
		copyFile(filepath.Join(m.tree, "deploy/cni", file), filepath.Join(confDir, file), 0o644))
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}

// fetchPage gets the page of a container's web server, from another machine.
func fetchPage(ctx context.Context, address string) error {
	return sandbox.Within(outside, func() error {
		dialer := net.Dialer{Timeout: 3 * time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		answer, err := io.ReadAll(conn)
		if err == nil && !strings.Contains(string(answer), page) {
			err = fmt.Errorf("it answers %q", answer)
		}
		return err
	})
}

// run runs a program and gives what it prints; an error has what it complained of.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	var out, complaint strings.Builder
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		said := target.Tail(complaint.String() + out.String())
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, said)
	}
	return strings.TrimSpace(out.String()), nil
}
