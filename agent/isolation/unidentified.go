package isolation

import (
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/netops"
)

// findingUnidentified is the kind of the finding that a port's container is unknown.
const findingUnidentified = "port-unread"

// unidentified are the ports whose container neither the journal nor the alias names. They stay, cut, because a container may use
// them. A port's name is a hash of its attachment, by which etcd's records and a DEL find it.
type unidentified struct {
	mu    lockorder.Subject
	ports map[string]netops.PortInfo
}

func (u *unidentified) add(p netops.PortInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ports == nil {
		u.ports = map[string]netops.PortInfo{}
	}
	u.ports[p.Name] = p
}

func (u *unidentified) HasPort(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, is := u.ports[name]
	return is
}

// Any reports whether there are unidentified ports.
func (u *unidentified) Any() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.ports) > 0
}

// Has reports whether an unidentified port is an attachment's.
func (u *unidentified) Has(at allocator.Attachment) bool {
	_, is := u.Of(at)
	return is
}

func (u *unidentified) Of(at allocator.Attachment) (netops.PortInfo, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ports) == 0 {
		return netops.PortInfo{}, false
	}
	p, is := u.ports[plan.PortName(at)]
	return p, is
}

// drop forgets a port, and reports whether it was known.
func (u *unidentified) drop(port string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, was := u.ports[port]
	delete(u.ports, port)
	return was
}
