package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/netops"
)

// A side is one of the two that the differential test holds against each other: the model, or a real namespace.
type side interface {
	kernel() agent.Kernel
	reopen() error // as a process that begins anew
	news() []string

	// make makes the namespace of a number anew, and end ends it.
	make(n int) error
	end(n int) error
	netns(n int) *os.File // nil: there is none

	// What others do on the host.
	deleteLink(name string) error
	setMaster(name, bridge string) error
	setUp(name string, up bool) error
	setMTU(name string, mtu int) error
	setAddress(name string, p netip.Prefix, on bool) error
	flushTable() error
	flushMasquerade() error
	stopForwarding() error

	// What others do in a namespace.
	addInside(n int, name string) error
	removeInside(n int, name string) error
	renameInside(n int, from, to string) error
	setUpInside(n int, name string, up bool) error
	setMTUInside(n int, name string, mtu int) error
	setMACInside(n int, name string, mac net.HardwareAddr) error
	setAddressInside(n int, name string, p netip.Prefix, on bool) error
	removeRoute(n int, name string, to netip.Prefix) error
}

// A modelled side is a host of the model.
type modelled struct {
	listener
	h  *Host
	k  agent.Kernel
	ns map[int]*Namespace
	f  map[int]*os.File
	// wrap changes the kernel, for a difference that is to be found.
	wrap func(agent.Kernel) agent.Kernel
}

func (m *modelled) kernel() agent.Kernel { return m.k }

func (m *modelled) reopen() (err error) {
	if m.k != nil {
		m.k.Close()
	}
	if m.k, err = m.h.Open(); err == nil && m.wrap != nil {
		m.k = m.wrap(m.k)
	}
	go m.listen(m.k)
	return err
}

// A listener counts the news of ends.
type listener struct {
	mu   sync.Mutex
	ends map[string]int
}

func (l *listener) listen(k agent.Kernel) {
	for e := range k.Events() {
		what := "end of port " + e.Port
		switch e.Kind {
		case netops.NamespaceGone:
			what = "end of a namespace"
		case netops.PortGone:
		default:
			continue // others are of own changes, too, and not reliable in number
		}
		l.mu.Lock()
		if l.ends == nil {
			l.ends = map[string]int{}
		}
		l.ends[what]++
		l.mu.Unlock()
	}
}

func (l *listener) news() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, n := range l.ends {
		all = append(all, fmt.Sprintf("news of the %s: %d", what, n))
	}
	return all
}

func (m *modelled) make(n int) (err error) {
	if m.ns[n], err = m.h.NewNamespace(); err != nil {
		return err
	}
	m.ns[n].Desert()
	m.f[n], err = m.ns[n].Open()
	return err
}

func (m *modelled) end(n int) error {
	m.f[n].Close()
	m.ns[n].End()
	delete(m.f, n)
	return nil
}

func (m *modelled) netns(n int) *os.File { return m.f[n] }

func (m *modelled) deleteLink(name string) error { return m.h.DeleteLink(name) }

func (m *modelled) setMaster(name, bridge string) error { return m.h.SetMaster(name, bridge) }

func (m *modelled) setUp(name string, up bool) error { return m.h.SetLinkUp(name, up) }

func (m *modelled) setMTU(name string, mtu int) error { return m.h.SetMTU(name, mtu) }

func (m *modelled) setAddress(name string, p netip.Prefix, on bool) error {
	return m.h.SetAddress(name, p, on)
}

func (m *modelled) flushTable() error { m.h.FlushTable(); return nil }

func (m *modelled) flushMasquerade() error { m.h.FlushMasquerade(); return nil }

func (m *modelled) stopForwarding() error { m.h.StopForwarding(); return nil }

func (m *modelled) addInside(n int, name string) error { return m.ns[n].AddInterface(name) }

func (m *modelled) removeInside(n int, name string) error { return m.ns[n].RemoveInterface(name) }

func (m *modelled) renameInside(n int, from, to string) error { return m.ns[n].Rename(from, to) }

func (m *modelled) setUpInside(n int, name string, up bool) error { return m.ns[n].SetUp(name, up) }

func (m *modelled) setMTUInside(n int, name string, mtu int) error { return m.ns[n].SetMTU(name, mtu) }

func (m *modelled) setMACInside(n int, name string, mac net.HardwareAddr) error {
	return m.ns[n].SetMAC(name, mac)
}

func (m *modelled) setAddressInside(n int, name string, p netip.Prefix, on bool) error {
	return m.ns[n].SetAddress(name, p, on)
}

func (m *modelled) removeRoute(n int, name string, to netip.Prefix) error {
	return m.ns[n].MoveRoutes(name, to, 0)
}
