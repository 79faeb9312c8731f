package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
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

func portOf(at allocator.Attachment) string {
	return netops.PortName(at.Network, at.Container, at.Interface)
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
	p, is := u.ports[portOf(at)]
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
func (a *Agent) setAside(p netops.PortInfo, why string) {
	if err := a.kernel.Leave(p.Name); err != nil {
		a.Log.Error("cannot isolate a port whose container is not known: take it off its bridge by hand", zap.String("port", p.Name),
			zap.Error(err))
	}
	a.unread.add(p)
	a.findings.Set(findingUnread, p.Name, fmt.Sprintf("it is not known whose port this is (%s): it is isolated", why),
		"delete its container, or the link where no container has it; where etcd names its container, it passes by itself")
}

// known ends that a port is unread: it has an entry, or is gone.
func (a *Agent) known(port string) {
	if a.unread.drop(port) {
		a.findings.Clear(findingUnread, port)
	}
}

// removeUnread removes the port of an attachment that is deleted, where it is an unread one. The attachment's lock is held.
func (a *Agent) removeUnread(at allocator.Attachment) error {
	p, is := a.unread.of(at)
	if !is {
		return nil
	}
	if err := a.kernel.Detach(p.Name); err != nil {
		return err
	}
	a.known(p.Name)
	return nil
}

// takeInNamed takes in the ports whose containers etcd names. The gate is held.
func (a *Agent) takeInNamed(etcd *named) {
	for _, r := range etcd.reservations {
		if r.Holder == nil || r.Holder.Node != a.Node {
			continue
		}
		if p, is := a.unread.of(r.Holder.Attachment); is {
			i := r.Identity
			a.takeIn(p, &journal.Entry{
				Attachment: r.Holder.Attachment, Class: allocator.Stateful, App: allocator.App{Namespace: i.Namespace, Name: i.App},
				Member: i.Member, Pool: r.Pool, Addresses: etcd.reservedWith(r), Epoch: r.Epoch,
			})
		}
	}
	for _, s := range etcd.assignments {
		if s.Node != a.Node || a.ownerOf(s.Pool, s.Address) != a.Node {
			continue
		}
		if p, is := a.unread.of(s.Attachment); is {
			a.takeIn(p, &journal.Entry{
				Attachment: s.Attachment, Class: allocator.Stateless, App: s.App, Pool: s.Pool, Addresses: etcd.assignedWith(s),
			})
		}
	}
}

// reservedWith are the addresses of the reservations that are attached as one.
func (n *named) reservedWith(one record.Reservation) (all []netip.Addr) {
	for _, r := range n.reservations {
		if r.Pool == one.Pool && r.Identity == one.Identity && r.Holder != nil && r.Holder.Attachment == one.Holder.Attachment &&
			r.Holder.Node == one.Holder.Node {
			all = append(all, r.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare) // IPv4 first
	return all
}

// assignedWith are the addresses of an assignment's attachment.
func (n *named) assignedWith(one record.Assignment) (all []netip.Addr) {
	for _, s := range n.assignments {
		if s.Pool == one.Pool && s.Attachment == one.Attachment && s.Node == one.Node {
			all = append(all, s.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// takeIn notes an entry that the journal has lost, of a port that is here. An address that another container here has already
// stays that one's.
func (a *Agent) takeIn(p netops.PortInfo, e *journal.Entry) {
	for _, addr := range e.Addresses {
		if holder := a.journal.Holder(e.Pool, addr); holder != nil {
			a.setAside(p, fmt.Sprintf("%s says that it has %s, which %s has", e.Attachment, addr, holder.Attachment))
			return
		}
	}
	now := wire.Boottime()
	e.Role, e.Began, e.Answered, e.Since = wire.Interface, now, now, time.Now().UTC()
	e.Wiring = journal.Wiring{Port: p.Name, Bridge: p.Bridge, MAC: netops.MACFor(e.Addresses).String()}
	var err error
	if e.Wiring.Uplink, err = a.kernel.Uplink(p.Bridge); err != nil {
		e.Wiring.Unsure = true
		a.Log.Error("what a container needs of its bridge is not known any more: make it anew", zap.Stringer("attachment", e.Attachment),
			zap.Error(err))
	}
	a.Log.Warn("the journal is lost; taking in a container that runs", zap.Stringer("attachment", e.Attachment),
		zap.Stringers("addresses", e.Addresses))
	a.journal.Keep(e)
	a.known(p.Name)
}
