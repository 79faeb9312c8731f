package node

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/berth-ipam/berth/netops"
)

// A Kernel is what the parts use of the host's kernel, in the interfaces below by subject. *netops.Kernel is one, and says what
// each method does. What package host uses of it besides, it declares itself.
type Kernel interface {
	Ports
	Fence
	Namespaces
	Host
}

// Ports are the containers' links.
type Ports interface {
	Attach(p netops.Port) (netops.Attached, error)
	Check(p netops.Port) error
	Update(to, from netops.Port) error
	Detach(port string) error
	Announce(p netops.Port)
	Lead(p netops.Port) error
	Ports() ([]netops.PortInfo, error)
	HasPort(name string) bool
	Uplink(bridge string) (name string, err error)
	Probe(ctx context.Context, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error)
}

// Fence decides which ports' traffic passes.
type Fence interface {
	Join(m netops.Member) error
	Restrict(m netops.Member) error
	Leave(port string) error
	Classes() (map[string]string, error)
	EnsureTable() error

	TryFence() error
	SetFence(on bool, left map[string]time.Duration) error
	Fenced() (bool, error)
	Passing() (map[string]time.Duration, error)
	Arm(whole map[string]time.Duration) error
	Open() error
	CloseAll() error
}

// Namespaces are the containers' network namespaces.
type Namespaces interface {
	NamespaceInode(ns *os.File) (uint64, error)
	FindNamespace(path string, inode uint64) (*os.File, error)
	WatchNamespace(ns *os.File) (id int, err error)
	NamespaceAlive(id int) (alive bool, err error)
	NamespaceHas(id int, a netip.Addr) (has bool, err error)
}

// Host is the host itself.
type Host interface {
	Events() <-chan netops.Event
	Diagnose() []string
	HostAddresses() ([]netops.HostAddress, error)
	NodeAddresses() ([]netip.Addr, error)
	LinkName(index int) (name string, err error)
}
