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
	PortGone      EventKind = iota + 1 // a port's link has ended, and nobody called Detach
	NamespaceGone                      // a namespace has ended that had an id, by WatchNamespace or from the kernel
	Overrun                            // the kernel dropped news: read again all that events would have told
)

// An EventKind is PortGone, NamespaceGone or Overrun.
type EventKind int

// An Event is what the kernel told about a link or a namespace.
type Event struct {
	Kind        EventKind
	Port        string // PortGone
	NamespaceID int    // NamespaceGone: as WatchNamespace gave it
}

// A monitor listens to the host's kernel: links, addresses and namespaces.
type monitor struct {
	socket  *os.File
	told    chan Event
	events  chan Event
	changed func(index int) // the link or its addresses are not as they were; 0: any may have changed

	mu      sync.Mutex
	waiting map[int][]chan struct{} // by a link's index: closed when it has ended
}

// monitorBuffer is what the kernel may hold for us, in bytes: some ten thousand pieces of news.
const monitorBuffer = 8 << 20

func openMonitor(home *os.File, changed func(index int)) (*monitor, error) {
	m := &monitor{
		told:    make(chan Event),
		events:  make(chan Event),
		changed: changed,
		waiting: map[int][]chan struct{}{},
	}
	if err := within(home, m.subscribe); err != nil {
		return nil, fmt.Errorf("listen to the kernel: %w", err)
	}
	go m.listen()
	go m.deliver()
	return m, nil
}

func (m *monitor) subscribe() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, monitorBuffer)
	}
	groups := uint32(0)
	for _, g := range [...]int{unix.RTNLGRP_LINK, unix.RTNLGRP_NSID, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR} {
		groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return err
	}
	m.socket = os.NewFile(uintptr(fd), "the kernel's news")
	return nil
}

// listen reads until the socket is closed.
func (m *monitor) listen() {
	defer close(m.told)
	buffer := make([]byte, 1<<16)
	for {
		n, err := m.socket.Read(buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			m.overrun()
			continue
		case err != nil:
			return
		}
		messages, _ := syscall.ParseNetlinkMessage(buffer[:n])
		for _, message := range messages {
			m.take(message.Header.Type, message.Data)
		}
	}
}

func (m *monitor) take(kind uint16, body []byte) {
	switch kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l := parseLink(body)
		if l.family != unix.AF_UNSPEC {
			return // a bridge's news about its port, which lives on
		}
		m.changed(l.index)
		if kind == unix.RTM_DELLINK && !m.wake(l.index) && strings.HasPrefix(l.name, Prefix) {
			m.told <- Event{Kind: PortGone, Port: l.name}
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		_, index := parseAddress(body)
		m.changed(index)
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
	m.mu.Unlock()
	m.changed(0)
	m.told <- Event{Kind: Overrun}
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

func (m *monitor) close() { m.socket.Close() }
