package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Ping is what became of an echo request.
type Ping struct {
	Took time.Duration // from the first request to the reply
	Sent int           // requests until then
}

// pingEvery is the time from one request to the next.
const pingEvery = 100 * time.Millisecond

// Ping sends echo requests (RFC 792, RFC 4443) from the container to an address until one is answered.
func (c *Container) Ping(to netip.Addr) (Ping, error) { return pingFrom(c.Netns, to, 5*time.Second) }

// Unreachable reports whether no echo request from the container to an address is answered within a while.
func (c *Container) Unreachable(to netip.Addr, while time.Duration) bool {
	_, err := pingFrom(c.Netns, to, while)
	return err != nil
}

// Ping sends echo requests from the node.
func (n *Node) Ping(to netip.Addr) (Ping, error) { return pingFrom(n.netns, to, 5*time.Second) }

func pingFrom(netns string, to netip.Addr, patience time.Duration) (ping Ping, err error) {
	socket, err := echoSocket(netns, to)
	if err != nil {
		return Ping{}, fmt.Errorf("lab: ping %v from %s: %w", to, netns, err)
	}
	defer unix.Close(socket)
	begin := time.Now()
	var last error
	for time.Since(begin) < patience {
		ping.Sent++
		if last = unix.Send(socket, echo(to, ping.Sent), 0); last != nil {
			time.Sleep(pingEvery) // refused by the kernel: try again as if it had been lost
		}
		if answered(socket, to, time.Now().Add(pingEvery)) {
			ping.Took = time.Since(begin)
			return ping, nil
		}
	}
	return ping, errors.Join(fmt.Errorf("lab: ping %v from %s: no answer to %d requests in %v", to, netns, ping.Sent, patience), last)
}

func echoSocket(netns string, to netip.Addr) (socket int, err error) {
	family, protocol, address := unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.As16()})
	if to.Is4() {
		family, protocol, address = unix.AF_INET, unix.IPPROTO_ICMP, &unix.SockaddrInet4{Addr: to.As4()}
	}
	err = within(netns, func() (err error) {
		socket, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		return err
	})
	if err != nil {
		return 0, err
	}
	if err := unix.Connect(socket, address); err != nil {
		unix.Close(socket)
		return 0, err
	}
	return socket, nil
}

// echo makes an echo request. The kernel fills in the checksum of the later family's.
func echo(to netip.Addr, sequence int) []byte {
	message := make([]byte, 16)
	message[0] = 128
	if to.Is4() {
		message[0] = 8
	}
	binary.BigEndian.PutUint16(message[4:], uint16(os.Getpid()))
	binary.BigEndian.PutUint16(message[6:], uint16(sequence))
	if to.Is4() {
		binary.BigEndian.PutUint16(message[2:], checksum(message))
	}
	return message
}

// answered waits until the deadline for an echo reply.
func answered(socket int, from netip.Addr, deadline time.Time) bool {
	buffer := make([]byte, 512)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		timeout := unix.NsecToTimeval(left.Nanoseconds())
		if unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) != nil {
			return false
		}
		n, _, err := unix.Recvfrom(socket, buffer, 0)
		if err != nil {
			continue
		}
		if _, is := replied(buffer[:n], from); is {
			return true
		}
	}
}

// replied reads what a socket of echoSocket has received: the sequence number of a reply to this program's request.
func replied(packet []byte, from netip.Addr) (sequence int, is bool) {
	reply := byte(129)
	if from.Is4() && len(packet) > 0 { // a raw socket of this family gives the IP header too (raw(7))
		reply, packet = 0, packet[min(len(packet), int(packet[0]&0x0f)*4):]
	}
	if len(packet) < 8 || packet[0] != reply || binary.BigEndian.Uint16(packet[4:]) != uint16(os.Getpid()) {
		return 0, false
	}
	return int(binary.BigEndian.Uint16(packet[6:])), true
}

// checksum is the Internet checksum (RFC 1071).
func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
