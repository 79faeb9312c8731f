package netops

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/fence"
	"github.com/berth-ipam/berth/netops/rtnl"
)

// A monitor receives the events of the host's kernel: links, addresses, namespaces, the table, the machine.
type monitor struct {
	feeds   []*rtnl.Feed // the first is rtnetlink's
	told    chan Event
	events  chan Event
	changed func(index int) (news bool) // the link or its addresses are not as they were; 0: any may have changed
	routes  *routing

	mu      sync.Mutex
	waiting map[int][]chan struct{} // by a link's index: closed when it has ended
	making  map[string]bool         // the ports that are being made, or whose events are still queued
	routed  map[string]bool         // the ports that the host routes to
}

func openMonitor(
	home *os.File, changed func(index int) bool, routes *routing, ours *fence.Senders,
) (*monitor, error) {
	m := &monitor{
		told:    make(chan Event),
		events:  make(chan Event),
		changed: changed,
		routes:  routes,
		waiting: map[int][]chan struct{}{},
		making:  map[string]bool{},
		routed:  map[string]bool{},
	}
	if err := rtnl.Within(home, func() error { return m.subscribe(ours) }); err != nil {
		for _, f := range m.feeds {
			f.Close()
		}
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	var listening sync.WaitGroup
	for _, f := range m.feeds {
		listening.Go(f.Listen)
	}
	go func() { listening.Wait(); close(m.told) }()
	go m.deliver()
	return m, nil
}

func (m *monitor) subscribe(ours *fence.Senders) error {
	tables := fence.NewWatch(ours, m.tableChanged)
	return errors.Join(
		m.feed(unix.NETLINK_ROUTE, m.read, m.overrun,
			unix.RTNLGRP_LINK, unix.RTNLGRP_NSID, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
			unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF),
		m.feedRoutes(),
		m.feed(unix.NETLINK_NETFILTER, tables.Read, tables.Lost, unix.NFNLGRP_NFTABLES),
		m.feed(unix.NETLINK_KOBJECT_UEVENT, m.readDevice, func() {}, kernelsDevices))
}

func (m *monitor) feed(protocol int, read func([]byte), lost func(), groups ...int) error {
	f, err := rtnl.OpenFeed(protocol, read, lost, groups...)
	if err == nil {
		m.feeds = append(m.feeds, f)
	}
	return err
}

func (m *monitor) tableChanged(what fence.Change) {
	if what == fence.FilterChanged {
		m.told <- Event{Kind: TableChanged}
	} else {
		m.told <- Event{Kind: HostChanged}
	}
}

// readDevice handles a new VM generation id (Linux 6.10 and later, with the device vmgenid). The kernel reports it in network
// namespaces of the initial user namespace only: elsewhere, Cloned never comes.
func (m *monitor) readDevice(news []byte) {
	if isClone(news) {
		m.told <- Event{Kind: Cloned}
	}
}

func (m *monitor) read(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, message := range messages {
		m.handle(message.Header.Type, message.Data)
	}
}

func (m *monitor) handle(kind uint16, body []byte) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l := rtnl.ParseLink(body)
		if l.Family != unix.AF_UNSPEC {
			return // a bridge's event about its port, which still exists
		}
		ours := strings.HasPrefix(l.Name, Prefix)
		if kind == unix.RTM_DELLINK {
			m.ended(l.Name)
		}
		m.suspect(m.changed(l.Index) || ours && kind == unix.RTM_NEWLINK && m.carriesNothing(&l))
		if kind == unix.RTM_DELLINK && !m.wake(l.Index) && ours {
			m.told <- Event{Kind: PortGone, Port: l.Name}
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a := rtnl.ParseAddress(body)
		m.suspect(m.changed(a.Index))
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			m.suspect(m.routes.addressed())
			m.told <- Event{Kind: AddressChanged}
		}
	case unix.RTM_NEWNETCONF:
		m.suspect(rtnl.StopsForwarding(body))
	case unix.RTM_DELNSID:
		if id := rtnl.ParseNamespaceID(body); id >= 0 {
			m.told <- Event{Kind: NamespaceGone, NamespaceID: id}
		}
	}
}

// overrun handles events that the kernel has dropped. Callers of awaitEnd learn of an end from the deletion itself.
func (m *monitor) overrun() {
	m.mu.Lock()
	clear(m.waiting)
	clear(m.making)
	m.mu.Unlock()
	m.changed(0)
	m.told <- Event{Kind: Overrun}
}

func (m *monitor) suspect(news bool) {
	if news {
		m.told <- Event{Kind: HostChanged}
	}
}

// carriesNothing reports whether a port that is neither being made nor being ended passes no traffic.
func (m *monitor) carriesNothing(port *rtnl.Link) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (port.Master != 0 || m.routed[port.Name]) && port.Up() {
		delete(m.making, port.Name) // later events come after it was complete
		return false
	}
	return !m.making[port.Name] && len(m.waiting[port.Index]) == 0
}

// knowRouted says that the host routes to a port, which is on no bridge.
func (m *monitor) knowRouted(port string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routed[port] = true
}

// make ignores events of a port while f makes it, until the event of its completion has come.
func (m *monitor) make(port string, routed bool, f func() error) error {
	m.mu.Lock()
	m.making[port] = true
	if delete(m.routed, port); routed {
		m.routed[port] = true
	}
	m.mu.Unlock()
	err := f()
	if err != nil {
		m.unmake(port)
	}
	return err
}

// ended forgets a port whose link has ended.
func (m *monitor) ended(port string) {
	m.unmake(port)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.routed, port)
}

func (m *monitor) unmake(port string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.making, port)
}

// awaitEnd returns a channel that is closed when the link of that index has ended. It is called before the deletion; the end
// makes no Event then.
func (m *monitor) awaitEnd(index int) chan struct{} {
	ended := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting[index] = append(m.waiting[index], ended)
	return ended
}

func (m *monitor) wake(index int) (awaited bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ended := range m.waiting[index] {
		close(ended)
		awaited = true
	}
	delete(m.waiting, index)
	return awaited
}

// forget drops a channel of awaitEnd whose end will not come.
func (m *monitor) forget(index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, index)
}

// deliver queues events, so that a slow reader does not block the kernel's sockets.
func (m *monitor) deliver() {
	defer close(m.events)
	var queue []Event
	for {
		var out chan Event
		var next Event
		if len(queue) > 0 {
			out, next = m.events, queue[0]
		}
		select {
		case e, open := <-m.told:
			if !open {
				return
			}
			queue = append(queue, e)
		case out <- next:
			queue = queue[1:]
		}
	}
}

func (m *monitor) close() {
	for _, f := range m.feeds {
		f.Close()
	}
}

// kernelsDevices is the group of the kernel's own news about devices; udev's are in another.
const kernelsDevices = 1

// isClone reads an event of a device: "change@<path>" and variables, each with a zero at its end.
func isClone(news []byte) bool {
	words := bytes.Split(news, []byte{0})
	if !bytes.HasPrefix(words[0], []byte("change@")) {
		return false
	}
	for _, w := range words[1:] {
		if string(w) == "NEW_VMGENID=1" {
			return true
		}
	}
	return false
}
