package agent

import (
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/netops"
)

// unread are the ports of which neither the journal nor their alias tells whose they are. They are cut and stay: a container
// may run behind each. Their names are hashes of the attachments, so that etcd's records and a DEL tell which is whose.
type unread struct {
	mu    sync.Mutex
	ports map[string]netops.PortInfo
}

func (u *unread) add(p netops.PortInfo) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ports == nil {
		u.ports = map[string]netops.PortInfo{}
	}
	u.ports[p.Name] = p
}

func (u *unread) hasPort(name string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, is := u.ports[name]
	return is
}

// has reports whether one of them is an attachment's.
func (u *unread) has(at allocator.Attachment) bool {
	_, is := u.of(at)
	return is
}

func (u *unread) of(at allocator.Attachment) (netops.PortInfo, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ports) == 0 {
		return netops.PortInfo{}, false
	}
	p, is := u.ports[plan.PortName(at)]
	return p, is
}

// drop forgets a port, and reports whether it was one of them.
func (u *unread) drop(port string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, was := u.ports[port]
	delete(u.ports, port)
	return was
}

// setAside cuts a port off whose container cannot be told, and says so.
func (a *isolator) setAside(p netops.PortInfo, why string) {
	if err := a.Kernel.Leave(p.Name); err != nil {
		a.Log.Error("cannot isolate a port whose container is not known: take it off its bridge by hand", zap.String("port", p.Name),
			zap.Error(err))
	}
	a.unread.add(p)
	a.Findings.Set(findingUnread, p.Name, fmt.Sprintf("it is not known whose port this is (%s): it is isolated", why),
		"delete its container, or the link where no container has it; where etcd names its container, it passes by itself")
}

// known ends that a port is unread: it has an entry, or is gone.
func (a *isolator) known(port string) {
	if a.unread.drop(port) {
		a.Findings.Clear(findingUnread, port)
	}
}

// removeUnread removes the port of an attachment that is deleted, where it is an unread one. The attachment's lock is held.
func (a *isolator) removeUnread(at allocator.Attachment) error {
	p, is := a.unread.of(at)
	if !is {
		return nil
	}
	if err := a.Kernel.Detach(p.Name); err != nil {
		return err
	}
	a.known(p.Name)
	return nil
}
