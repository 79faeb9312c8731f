package attach

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/internal/wire"
)

// A target is one container of a request's set, its names checked.
type target struct {
	wire.Container
	attachment allocator.Attachment
	workload   allocator.Workload
	class      allocator.Class
	app        allocator.App
	asked      []netip.Addr
	mac        net.HardwareAddr
	netns      *os.File // nil: the request had none
}

// identity is the owner of the member's reservation.
func (m *target) identity() allocator.Identity {
	return allocator.Identity{
		Namespace: m.app.Namespace, App: m.app.Name, Member: m.Member,
		Network: m.attachment.Network, Interface: m.attachment.Interface,
	}
}

// targets checks a set as a whole, before anything is done for one of it.
func targets(n *node.Node, r *wire.Request, files []*os.File) ([]*target, error) {
	if err := n.Allowed(r.Operation); err != nil {
		return nil, err
	}
	switch {
	case len(r.Containers) == 0:
		return nil, wire.Errorf(wire.CodeOperation, "operation %s names no container: name 1 to %d", r.Operation, wire.MaxContainers)
	case len(r.Containers) > wire.MaxContainers:
		return nil, wire.Errorf(wire.CodeOperation, "operation %s names %d containers: name 1 to %d", r.Operation, len(r.Containers),
			wire.MaxContainers)
	}
	seen := map[allocator.Attachment]bool{}
	set := make([]*target, len(r.Containers))
	for i, c := range r.Containers {
		m, err := newTarget(c, files)
		if err == nil && r.Operation == wire.Insert {
			err = m.validInsert(n.Kernel())
		}
		if err != nil {
			return nil, err
		}
		if seen[m.attachment] {
			return nil, wire.Errorf(wire.CodeOperation, "operation %s names %s twice", r.Operation, m.attachment)
		}
		seen[m.attachment] = true
		set[i] = m
	}
	return set, nil
}

func newTarget(c wire.Container, files []*os.File) (*target, error) {
	m := &target{Container: c, attachment: allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}}
	if err := m.attachment.Validate(); err != nil {
		return nil, wire.Errorf(wire.CodeEnvironment, "container %q of network %q: %w", c.ID, c.Network, err)
	}
	m.workload = allocator.Workload(c.Workload.Bounded())
	switch {
	case c.NetnsFile < 0 || c.NetnsFile > len(files):
		return nil, wire.Errorf(wire.CodeDecode, "container %q: its network namespace is to be file number %d beside the request, and "+
			"%d came: want each namespace opened and sent with the request", c.ID, c.NetnsFile, len(files))
	case c.NetnsFile > 0:
		m.netns = files[c.NetnsFile-1]
	}
	return m, nil
}

// validInsert checks what only an insert needs.
func (m *target) validInsert(kernel node.Namespaces) (err error) {
	refuse := func(format string, args ...any) error {
		return wire.Errorf(wire.CodeConfig, "container %q: %s", m.ID, fmt.Sprintf(format, args...))
	}
	if m.class, err = allocator.ParseClass(m.Class); err != nil {
		return refuse("%v", err)
	}
	if m.Role != wire.Interface && m.Role != wire.IPAM {
		return refuse("role %q: want %q or %q", m.Role, wire.Interface, wire.IPAM)
	}
	if err := m.validNames(); err != nil {
		return err
	}
	if m.netns == nil && m.Role == wire.Interface {
		return refuse("its network namespace did not come with the request")
	}
	if m.netns != nil {
		if _, err := kernel.NamespaceInode(m.netns); err != nil {
			return wire.Errorf(wire.CodeNetns, "container %q: %s: %w: want the path of a network namespace, as in /run/netns/NAME or "+
				"/proc/PID/ns/net", m.ID, m.Netns, err)
		}
	}
	m.app = allocator.App{Namespace: m.Namespace, Name: m.App}
	if m.App == "" {
		m.app = allocator.App{} // a namespace alone is no app
	}
	if m.class == allocator.Stateful {
		if m.App == "" {
			return refuse("a stateful container needs namespace, app and member: app is missing: name it by BERTH_APP in CNI_ARGS, app in " +
				"args.cni.berth, a pod's annotation berth.dev/app, or berthctl insert --app")
		}
		if err := m.identity().Validate(); err != nil {
			return refuse("a stateful container needs namespace, app and member: %v", err)
		}
	} else if m.app != (allocator.App{}) {
		for what, name := range map[string]string{"namespace": m.app.Namespace, "app": m.app.Name} {
			if err := allocator.ValidName(what, name); err != nil {
				return refuse("%v", err)
			}
		}
	}
	if m.Pool == "" {
		m.Pool = wire.DefaultPool
	}
	if m.MAC != "" {
		if m.mac, err = net.ParseMAC(m.MAC); err != nil || len(m.mac) != 6 || m.mac[0]&1 != 0 {
			return refuse("MAC %q was asked for: want six bytes of a unicast address, as in be:00:0a:2a:00:07", m.MAC)
		}
	}
	return m.parseAsked(refuse)
}

// validNames refuses interface names that the kernel would refuse or change.
func (m *target) validNames() error {
	if err := ifname.Validate("interface", m.Interface); err != nil {
		return wire.Errorf(wire.CodeEnvironment, "container %q: %w", m.ID, err)
	}
	for key, name := range map[string]string{"bridge": m.Bridge, "uplink": m.Uplink} {
		if name == "" {
			continue
		}
		if err := ifname.Validate(key, name); err != nil {
			return wire.Errorf(wire.CodeConfig, "container %q: %w", m.ID, err)
		}
	}
	return nil
}

func (m *target) parseAsked(refuse func(string, ...any) error) error {
	for _, text := range m.Addresses {
		addr, err := netip.ParseAddr(text)
		if p, perr := netip.ParsePrefix(text); perr == nil {
			addr, err = p.Addr(), nil
		}
		if err != nil {
			return refuse("address %q was asked for: want an address, or an address and its prefix length", text)
		}
		for _, other := range m.asked {
			if allocator.FamilyOf(other) == allocator.FamilyOf(addr) {
				return refuse("addresses %s and %s were asked for: want at most one of each family", other, addr)
			}
		}
		m.asked = append(m.asked, addr.Unmap())
	}
	return nil
}
