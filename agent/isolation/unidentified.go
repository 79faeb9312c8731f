package isolation

import (
	"fmt"

	"go.uber.org/zap"

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

// SetAside cuts a port whose container is unknown, and sets a finding.
func (i *Isolator) SetAside(p netops.PortInfo, why string) {
	if err := i.Kernel().Leave(p.Name); err != nil {
		i.Log.Error("cannot isolate a port whose container is not known: take it off its bridge by hand", zap.String("port", p.Name),
			zap.Error(err))
	}
	i.Unidentified.add(p)
	i.Findings.Set(findingUnidentified, p.Name, fmt.Sprintf("it is not known whose port this is (%s): it is isolated", why),
		"delete its container, or the link where no container has it; where etcd names its container, it passes by itself")
}

// Identified forgets an unidentified port that has an entry now, or is gone.
func (i *Isolator) Identified(port string) {
	if i.Unidentified.drop(port) {
		i.Findings.Clear(findingUnidentified, port)
	}
}

// RemoveUnidentified removes the unidentified port of an attachment that is deleted. The attachment's lock is held.
func (i *Isolator) RemoveUnidentified(at allocator.Attachment) error {
	p, is := i.Unidentified.Of(at)
	if !is {
		return nil
	}
	if err := i.Kernel().Detach(p.Name); err != nil {
		return err
	}
	i.Identified(p.Name)
	return nil
}
