package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-ipam/berth/agent/host"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/routes"
	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/netops"
)

// Options are what an agent needs to know.
type Options struct {
	node.Options               // Machine and Boot: empty: what Machine and Boot find
	Listen       string        // host:port of /metrics, /healthz, /readyz and /v1/; empty: none
	Access       server.Access // who may ask for /v1/

	SettingsFile string // the file that flags and variables come from, if any; watched for changes
	Ready        func() // called whenever it has become able to serve; may be nil

	// What is outside of the agent, besides what node.Options has. What is nil is the machine's.
	Kernel       func() (Kernel, error)
	ListenSocket func(path string) (server.Listener, error)
	ListenWeb    func(network, address string) (net.Listener, error) // whose address is a *net.TCPAddr
}

// A Kernel is what the agent uses of the host's kernel.
type Kernel interface {
	node.Kernel
	host.Kernel
	routes.Kernel
	Close()
}

// openKernel opens the calling thread's network namespace as the host's.
func openKernel() (Kernel, error) {
	k, err := netops.Open()
	if err != nil {
		return nil, err
	}
	return k, nil
}

// withMachine fills in what is the machine's where nothing else is given.
func (o Options) withMachine() (_ Options, err error) {
	if o.Machine == "" {
		if o.Machine, err = Machine(); err != nil {
			return o, err
		}
	}
	if o.Boot == "" {
		if o.Boot, err = Boot(); err != nil {
			return o, err
		}
	}
	if o.Kernel == nil {
		o.Kernel = openKernel
	}
	if o.ListenSocket == nil {
		o.ListenSocket = server.ListenUnix
	}
	if o.ListenWeb == nil {
		o.ListenWeb = net.Listen
	}
	return o, nil
}

// Socket is where the agent listens below its run directory.
func (o *Options) Socket() string { return filepath.Join(o.RunDir, "berth.sock") }

func (o *Options) journal() string { return filepath.Join(o.RunDir, "journal") }

// Machine identifies this machine: its machine id (machine-id(5)) with its product UUID, so that the clones of one
// disk image differ. A machine that has neither is known by its host name.
func Machine() (string, error) {
	var parts []string
	for _, path := range []string{"/etc/machine-id", "/sys/class/dmi/id/product_uuid"} {
		if data, err := os.ReadFile(path); err == nil && len(strings.TrimSpace(string(data))) > 0 {
			parts = append(parts, strings.TrimSpace(string(data)))
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, "/"), nil
	}
	name, err := os.Hostname()
	return "host/" + name, err
}

// Boot identifies the boot of this machine's containers: they end with the kernel's run (its boot id) or with the network
// namespace that the agent serves.
func Boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("agent: read the kernel's boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("agent: read the network namespace's identity: %w", err)
	}
	return strings.TrimSpace(string(id)) + "/" + ns, nil
}
