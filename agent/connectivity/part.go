package connectivity

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/netops/echo"
)

// Network is that of the containers which checks make.
const Network = "berth-connectivity"

// A Kernel is what a checker uses of the host's kernel. *netops.Kernel is one.
type Kernel interface {
	NewNamespace() (*os.File, error)
	Echo(ctx context.Context, r echo.Request) error
	Uplink(bridge string) (name string, err error)
	Probe(ctx context.Context, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error)
}

// tools are what a checker and its parts in checks work with.
type tools struct {
	*node.Node
	kernel   Kernel
	attacher *attach.Attacher
	detacher *attach.Detacher
}

// A part is what this node does in one check.
type part struct {
	tools
	id     string
	check  *record.Check
	peers  chan *record.Check // the check as it is once its peers are known
	cancel context.CancelFunc
	done   chan struct{}
}
