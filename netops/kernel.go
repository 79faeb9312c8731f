package netops

import (
	"errors"
	"fmt"
	"os"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/l2"
	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/berth-ipam/berth/netops/sysctl"
)

// A Kernel works on one network namespace, the host's, and from there on those of containers. It is safe for
// concurrent use; for one port, one call at a time.
type Kernel struct {
	*fence.Table // decides which ports' traffic passes

	home      *os.File // the host's network namespace
	host      *rtnl.Pool
	monitor   *monitor
	bridges   bridges
	routing   routing
	settings  *sysctl.Memory // which of the host's were changed
	announcer l2.Announcer

	speaksV6  bool // the host's kernel
	forgetful bool // it does not remember who gave an address (before Linux 5.18); under bridges.ensuring
}

// Open uses the calling thread's network namespace as the host's, subscribes to its kernel's events and ensures the table. Close
// ends that; the kernel's state stays.
func Open() (*Kernel, error) {
	home, err := rtnl.ThreadNamespace()
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	k := &Kernel{home: home, host: rtnl.NewPool(home), speaksV6: sysctl.HasV6(), bridges: newBridges(), routing: newRouting()}
	k.announcer.Apart = l2.Apart
	ours := &fence.Senders{}
	if k.monitor, err = openMonitor(home, k.changed, &k.routing, ours); err != nil {
		k.Close()
		return nil, fmt.Errorf("netops: %w", err)
	}
	if k.Table, err = fence.Open(home, ours); err != nil {
		k.Close()
		return nil, fmt.Errorf("netops: %w", err)
	}
	return k, nil
}

// SettingsFile is the name of the file, in a run directory, in which a Memory is kept.
const SettingsFile = "settings"

// A Memory keeps which settings of the host were changed, for Remnants.
type Memory = sysctl.Memory

// Remember keeps what is changed from now on of the host's settings. It is called before the first change.
func (k *Kernel) Remember(m *Memory) { k.settings = m }

// changed is called by the monitor, see bridges.changed and routing.changed.
func (k *Kernel) changed(index int) (news bool) {
	ofBridge, ofRoutes := k.bridges.changed(index), k.routing.changed(index)
	return ofBridge || ofRoutes
}

// Close closes the kernel's sockets and Events.
func (k *Kernel) Close() {
	if k.monitor != nil {
		k.monitor.close()
	}
	if k.Table != nil {
		k.Table.Close()
	}
	k.announcer.Close()
	k.host.Close()
	k.home.Close()
}

// Events reports what has ended or changed by itself. The caller must go on reading: unread events are kept in memory. It is
// closed with the Kernel.
func (k *Kernel) Events() <-chan Event { return k.monitor.events }

// EnsureTable restores the fence's table where another process has flushed or changed it (see fence.Table), and has the next
// EnsureBridge read every bridge again.
func (k *Kernel) EnsureTable() error {
	k.bridges.changed(0)
	return k.Table.EnsureTable()
}

// Leave takes a port out of its class, and ends its announcements: nothing passes from or to it any more. The host does not route
// to it any more, either, since another node may have its addresses. Absence is success.
func (k *Kernel) Leave(port string) error {
	k.announcer.Silence(port)
	return errors.Join(k.Table.Leave(port), k.unlead(port))
}
