package client

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/berth-ipam/berth/internal/wire"
)

// Roles in which a container reaches Berth.
const (
	Interface = wire.Interface // Berth makes the interface
	IPAM      = wire.IPAM      // somebody else makes it, Berth gives the address
)

// A Container is one interface of one container of this node, and what it is to have. Only ID is needed always, and
// of a container to be inserted in the role Interface one of Netns and PID.
type Container struct {
	Network   string // default: "berth"
	ID        string
	Interface string // default: "eth0"
	Role      string // default: Interface

	Netns string // path of its network namespace
	PID   int    // of a process in its network namespace, instead of Netns

	Class     string // "stateless", the default, or "stateful"
	Namespace string // of the app; default: "default"
	App       string
	Member    string // of a stateful app: who keeps the address

	Pool      string       // default: "default"
	Addresses []netip.Addr // asked for, at most one of each family
	MAC       string       // asked for; role Interface

	Bridge string // role Interface: the bridge; default: "berth0"
	Uplink string // role Interface: the NIC that is put into the bridge; default: none

	Masquerade bool // role Interface: hide the address behind the node's towards the world outside the pool
}

// DefaultBridge is the bridge of a Container that names none.
const DefaultBridge = "berth0"

// WithDefaults is c with the defaults in place of what it leaves out.
func (c Container) WithDefaults() Container {
	c.Network, c.Interface, c.Role = cmp.Or(c.Network, "berth"), cmp.Or(c.Interface, "eth0"), cmp.Or(c.Role, Interface)
	c.Class, c.Pool = cmp.Or(c.Class, "stateless"), cmp.Or(c.Pool, wire.DefaultPool)
	if c.App != "" {
		c.Namespace = cmp.Or(c.Namespace, wire.DefaultNamespace)
	}
	if c.Role == Interface {
		c.Bridge = cmp.Or(c.Bridge, DefaultBridge)
	}
	return c
}

// wire is the container as a request has it.
func (c Container) wire() wire.Container {
	c = c.WithDefaults()
	w := wire.Container{
		Network: c.Network, ID: c.ID, Interface: c.Interface, Role: c.Role, Netns: c.netns(),
		Class: c.Class, Namespace: c.Namespace, App: c.App, Member: c.Member, Pool: c.Pool, MAC: c.MAC,
	}
	if c.Role == Interface {
		w.Bridge, w.Uplink, w.IPMasq = c.Bridge, c.Uplink, c.Masquerade
	}
	for _, a := range c.Addresses {
		w.Addresses = append(w.Addresses, a.String())
	}
	return w
}

// netns is the path of the container's namespace; empty: it names none.
func (c Container) netns() string {
	if c.PID != 0 {
		return fmt.Sprintf("/proc/%d/ns/net", c.PID)
	}
	return c.Netns
}

// open opens the containers' namespaces, which go beside the request. The files are the caller's to close, also when
// it fails.
func open(containers []Container) (members []wire.Container, files []*os.File, err error) {
	for _, c := range containers {
		w := c.wire()
		if c.PID != 0 && c.Netns != "" {
			return nil, files, wire.Errorf(wire.CodeNetns, "container %q: it has both a PID and the path of a namespace: want one of them", c.ID)
		}
		if w.Netns != "" {
			// What is no namespace must not hold the caller up, as opening a pipe would.
			f, err := os.OpenFile(w.Netns, os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				return nil, files, wire.Errorf(wire.CodeNetns, "container %q: its network namespace: %w", c.ID, err)
			}
			files = append(files, f)
			if err := wire.IsNetns(f); err != nil {
				return nil, files, wire.Errorf(wire.CodeNetns, "container %q: its network namespace %s: %w", c.ID, w.Netns, err)
			}
			w.NetnsFile = len(files)
		}
		members = append(members, w)
	}
	return members, files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
