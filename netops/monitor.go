package netops

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// What an Event tells.
const (
	PortGone       EventKind = iota + 1 // a port's link has ended, and nobody called Detach
	NamespaceGone                       // a namespace has ended that had an id, by WatchNamespace or from the kernel
	Overrun                             // the kernel dropped news: read again all that events would have told
	TableChanged                        // another process has changed or flushed the table, or may have: see EnsureTable
	AddressChanged                      // this host has got or lost an address: see HostAddresses
	Cloned                              // this machine goes on from a snapshot, or is a copy of one
	HostChanged                         // a bridge, its uplink, a port, masquerading or forwarding may not be as they were: see HostFaults
)

// An EventKind is one of the constants above.
type EventKind int

// An Event is what the kernel told.
type Event struct {
	Kind        EventKind
	Port        string // PortGone
	NamespaceID int    // NamespaceGone: as WatchNamespace gave it
}

// A monitor listens to the host's kernel: links, addresses and namespaces, the table, the machine.
type monitor struct {
	feeds   []feed // the first is rtnetlink's
	told    chan Event
	events  chan Event
	changed func(index int) (news bool) // the link or its addresses are not as they were; 0: any may have changed

	mu      sync.Mutex
	waiting map[int][]chan struct{} // by a link's index: closed when it has ended
	making  map[string]bool         // the ports that are being made, or of which that is not told yet
}

// monitorBuffer is what the kernel may hold for us, in bytes: some ten thousand pieces of news.
const monitorBuffer = 8 << 20

func openMonitor(home *os.File, changed func(index int) bool, ours *senders) (*monitor, error) {
	m := &monitor{
		told:    make(chan Event),
		events:  make(chan Event),
		changed: changed,
		waiting: map[int][]chan struct{}{},
		making:  map[string]bool{},
	}
	if err := within(home, func() error { return m.subscribe(ours) }); err != nil {
		for _, f := range m.feeds {
			f.socket.Close()
		}
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	var listening sync.WaitGroup
	for _, f := range m.feeds {
		listening.Go(f.listen)
	}
	go func() { listening.Wait(); close(m.told) }()
	go m.deliver()
	return m, nil
}

func (m *monitor) subscribe(ours *senders) error {
	changes := &changes{ours: ours, told: m.told, dirty: map[EventKind]bool{}}
	return errors.Join(
		m.feed(unix.NETLINK_ROUTE, m.read, m.overrun,
			unix.RTNLGRP_LINK, unix.RTNLGRP_NSID, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
			unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF),
		m.feed(unix.NETLINK_NETFILTER, changes.read, changes.lost, unix.NFNLGRP_NFTABLES),
		m.feed(unix.NETLINK_KOBJECT_UEVENT, m.readDevice, func() {}, kernelsDevices))
}

// A feed is a socket on which the kernel tells its news.
type feed struct {
	socket *os.File
	read   func(news []byte)
	lost   func() // the kernel dropped news
}

func (m *monitor) feed(protocol int, read func([]byte), lost func(), groups ...int) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, monitorBuffer)
	}
	mask := uint32(0)
	for _, g := range groups {
		mask |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: mask}); err != nil {
		unix.Close(fd)
		return err
	}
	m.feeds = append(m.feeds, feed{os.NewFile(uintptr(fd), "the kernel's news"), read, lost})
	return nil
}

// listen reads until the socket is closed.
func (f feed) listen() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := f.socket.Read(buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			f.lost()
		case err != nil:
			return
		default:
			f.read(buffer[:n])
		}
	}
}

func (m *monitor) read(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, message := range messages {
		m.take(message.Header.Type, message.Data)
	}
}

func (m *monitor) take(kind uint16, body []byte) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l := parseLink(body)
		if l.family != unix.AF_UNSPEC {
			return // a bridge's news about its port, which lives on
		}
		ours := strings.HasPrefix(l.name, Prefix)
		if kind == unix.RTM_DELLINK {
			m.unmake(l.name)
		}
		m.suspect(m.changed(l.index) || ours && kind == unix.RTM_NEWLINK && m.astray(&l))
		if kind == unix.RTM_DELLINK && !m.wake(l.index) && ours {
			m.told <- Event{Kind: PortGone, Port: l.name}
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, index := parseAddress(body)
		m.suspect(m.changed(index))
		if !a.prefix.Addr().IsLinkLocalUnicast() {
			m.told <- Event{Kind: AddressChanged}
		}
	case unix.RTM_NEWNETCONF:
		m.suspect(stopsForwarding(body))
	case unix.RTM_DELNSID:
		if len(body) < sizeofGeneric {
			return
		}
		for kind, value := range attributes(body[sizeofGeneric:]) {
			if kind == unix.NETNSA_NSID {
				m.told <- Event{Kind: NamespaceGone, NamespaceID: number(value)}
			}
		}
	}
}

// overrun is for news that the kernel has dropped. Whoever awaits an end hears of it from the deletion itself.
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

// astray reports whether a port that is neither being made nor being ended carries nothing.
func (m *monitor) astray(port *link) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if port.master != 0 && port.up() {
		delete(m.making, port.name) // what is told of it from now on comes after it was whole
		return false
	}
	return !m.making[port.name] && len(m.waiting[port.index]) == 0
}

// make keeps what is told of a port from counting, while f makes it and until that it is whole was told.
func (m *monitor) make(port string, f func() error) error {
	m.mu.Lock()
	m.making[port] = true
	m.mu.Unlock()
	err := f()
	if err != nil {
		m.unmake(port)
	}
	return err
}

func (m *monitor) unmake(port string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.making, port)
}

// stopsForwarding reads a message of struct netconfmsg (rtnetlink(7)) that a link, or the host, forwards no more.
func stopsForwarding(body []byte) bool {
	const sizeofHeader, forwarding = 4, 2 // NETCONFA_FORWARDING
	if len(body) < sizeofHeader {
		return false
	}
	for kind, value := range attributes(body[sizeofHeader:]) {
		if kind == forwarding {
			return number(value) == 0
		}
	}
	return false
}

// awaitEnd returns a channel that is closed when the link of that index has ended. It is asked for before the
// deletion; the end is not told as an Event then.
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

// forget is for an end that will not come.
func (m *monitor) forget(index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, index)
}

// deliver queues events, so that a slow reader never keeps the kernel's news waiting.
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
		f.socket.Close()
	}
}
