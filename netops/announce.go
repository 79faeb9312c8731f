package netops

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// between is how far the two announcements are apart: neighbours may take one a second (arp(7), locktime).
const between = 1100 * time.Millisecond

// heralds are the announcements under way, by port.
type heralds struct {
	between time.Duration // the two announcements of one

	mu     sync.Mutex
	quit   map[string]chan struct{}
	closed bool
	under  sync.WaitGroup
}

// Announce tells the network where a port's addresses are: at once from inside the container, and once more a second
// later from the bridge, so that no socket of ours keeps the container's namespace alive meanwhile. Before Join
// nobody would hear it. It does not wait; Leave and Detach end it. An announcement that fails is lost: who talks to the
// container asks for its address anyway.
func (k *Kernel) Announce(p Port) {
	fd, err := unix.FcntlInt(p.Netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	ns, quit := os.NewFile(uintptr(fd), p.Netns.Name()), k.heralds.begin(p.Name)
	if quit == nil {
		ns.Close()
		return
	}
	go func() {
		defer k.heralds.end(p.Name, quit)
		announce(ns, &p, p.Interface)
		ns.Close()
		select {
		case <-time.After(k.heralds.between):
			announce(k.home, &p, p.Bridge)
		case <-quit:
		}
	}()
}

// announce sends one announcement of each address over an interface of a namespace.
func announce(ns *os.File, p *Port, over string) {
	_ = within(ns, func() error {
		link, err := lookUp(over)
		if err != nil {
			return err
		}
		return sendAnnouncements(link.index, p.Addresses, p.mac())
	})
}

// sendAnnouncements says over a link of this thread's namespace that addresses are at a MAC.
func sendAnnouncements(index int, addresses []netip.Prefix, mac net.HardwareAddr) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, a := range addresses {
		_ = unix.Sendto(fd, announcement(a.Addr(), mac), 0, &unix.SockaddrLinklayer{Ifindex: index})
	}
	return nil
}

// begin ends a port's announcement that is under way, and returns what will end the new one; nil: there is to be none.
func (h *heralds) begin(port string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	if h.quit == nil {
		h.quit = map[string]chan struct{}{}
	}
	if former := h.quit[port]; former != nil {
		close(former)
	}
	quit := make(chan struct{})
	h.quit[port] = quit
	h.under.Add(1)
	return quit
}

func (h *heralds) end(port string, quit chan struct{}) {
	defer h.under.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.quit[port] == quit {
		delete(h.quit, port)
	}
}

// silence ends the port's announcement.
func (h *heralds) silence(port string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if quit := h.quit[port]; quit != nil {
		close(quit)
		delete(h.quit, port)
	}
}

// close ends all announcements, and returns when none uses the host's namespace any more.
func (h *heralds) close() {
	h.mu.Lock()
	h.closed = true
	for port, quit := range h.quit {
		close(quit)
		delete(h.quit, port)
	}
	h.mu.Unlock()
	h.under.Wait()
}
