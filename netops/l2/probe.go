package l2

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A probe is sent three times, because a frame can be lost, and the last answer is awaited as long as the others. RFC 5227
// asks for seconds, which a container's start cannot wait.
const (
	askTimes = 3
	AskEvery = 100 * time.Millisecond
)

// Probe asks the wire on a link of a network namespace, which is a bridge or has one before it, who has the addresses, and
// returns the MAC of each that answered. It takes 300 ms, or less where all answer. Addresses of the link itself are not found:
// this host does not answer itself. No answer is no proof: a host that is cut off does not answer. On an error, also the context's, what
// was found until then is returned with it.
func Probe(ctx context.Context, ns *os.File, link string, addrs []netip.Addr) (map[netip.Addr]net.HardwareAddr, error) {
	p := probe{asked: addrs, found: map[netip.Addr]net.HardwareAddr{}}
	if err := rtnl.Within(ns, func() error { return p.open(link) }); err != nil {
		return p.found, err
	}
	defer p.socket.Close()
	defer context.AfterFunc(ctx, func() { p.socket.Close() })()
	if err := p.run(); err != nil {
		return p.found, errors.Join(ctx.Err(), err)
	}
	return p.found, nil
}

type probe struct {
	asked  []netip.Addr
	found  map[netip.Addr]net.HardwareAddr
	index  int // of the link
	mac    net.HardwareAddr
	socket *os.File // for packets
}

func (p *probe) open(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	p.index, p.mac = link.Attrs().Index, link.Attrs().HardwareAddr
	if len(p.mac) != 6 {
		return fmt.Errorf("it has address %q: want a link of Ethernet", p.mac)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	// Nothing is received before it is bound: the filter sees all.
	filter := unix.SockFprog{Len: uint16(len(answersOnly)), Filter: &answersOnly[0]}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: p.index})
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	p.socket = os.NewFile(uintptr(fd), "packets of "+name)
	return nil
}

func (p *probe) run() error {
	for range askTimes {
		if err := p.ask(); err != nil {
			return err
		}
		if err := p.socket.SetReadDeadline(time.Now().Add(AskEvery)); err != nil {
			return err
		}
		if err := p.listen(); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// ask sends a probe for each address without an answer.
func (p *probe) ask() error {
	raw, err := p.socket.SyscallConn()
	if err != nil {
		return err
	}
	for _, a := range p.asked {
		if p.found[a] != nil {
			continue
		}
		var sent error
		err := raw.Write(func(fd uintptr) bool {
			sent = unix.Sendto(int(fd), probeFrame(a, p.mac), 0, &unix.SockaddrLinklayer{Ifindex: p.index})
			return !errors.Is(sent, unix.EAGAIN)
		})
		if err := errors.Join(err, sent); err != nil {
			return fmt.Errorf("ask for %v: %w", a, err)
		}
	}
	return nil
}

// listen reads answers, until there is one for each address.
func (p *probe) listen() error {
	frame := make([]byte, 1<<16)
	for {
		if !slices.ContainsFunc(p.asked, func(a netip.Addr) bool { return p.found[a] == nil }) {
			return nil
		}
		n, err := p.socket.Read(frame)
		if err != nil {
			return err
		}
		if a, mac, ok := answer(frame[:n]); ok && slices.Contains(p.asked, a) {
			p.found[a] = mac
		}
	}
}

// networkOrder is how a socket address holds a protocol.
func networkOrder(n uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)}) }
