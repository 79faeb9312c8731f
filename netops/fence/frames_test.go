package fence

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	everybody = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	stranger  = net.HardwareAddr{2, 0, 0, 0, 0, 0x66}
)

func ethernetFrame(to, from net.HardwareAddr, kind uint16, body ...[]byte) []byte {
	return slices.Concat(to, from, binary.BigEndian.AppendUint16(nil, kind), slices.Concat(body...))
}

func tagged(frame []byte, kind uint16) []byte {
	return slices.Concat(frame[:12], binary.BigEndian.AppendUint16(nil, kind), []byte{0, 5}, frame[12:])
}

// arpFrame says that an address has a MAC, or asks with it who has another.
func arpFrame(ether, mac net.HardwareAddr, op byte, sender, target string) []byte {
	header := []byte{0, 1, 8, 0, 6, 4, 0, op}
	return ethernetFrame(everybody, ether, unix.ETH_P_ARP, header, mac, bytesOf(sender), make([]byte, 6), bytesOf(target))
}

func bytesOf(a string) []byte { return netip.MustParseAddr(a).AsSlice() }

func v4Frame(to, from net.HardwareAddr, source string) []byte {
	return v4FrameTo(to, from, source, "10.42.0.4")
}

func v4FrameTo(to, from net.HardwareAddr, source, destination string) []byte {
	header := []byte{0: 0x45, 3: 28, 8: 64, 9: unix.IPPROTO_UDP, 19: 0}
	copy(header[12:], bytesOf(source))
	copy(header[16:], bytesOf(destination))
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum+sum>>16))
	return ethernetFrame(to, from, unix.ETH_P_IP, header, []byte{0, 68, 0, 67, 0, 8, 0, 0})
}

// v6Frame has extension headers of 8 bytes each before what it carries.
func v6Frame(to, from net.HardwareAddr, source, destination string, protocol byte, body []byte, extensions ...byte) []byte {
	next := append(slices.Clone(extensions), protocol)
	var between []byte
	for i := range extensions {
		between = append(between, next[i+1], 0, 1, 4, 0, 0, 0, 0)
	}
	header := []byte{0: 0x60, 6: next[0], 7: 255}
	binary.BigEndian.PutUint16(header[4:], uint16(len(between)+len(body)))
	return ethernetFrame(to, from, unix.ETH_P_IPV6, header, bytesOf(source), bytesOf(destination), between, body)
}

func ndMessage(kind byte, target string, mac net.HardwareAddr) []byte {
	return slices.Concat([]byte{kind, 0, 0, 0, 0x20, 0, 0, 0}, bytesOf(target), []byte{2, 1}, mac)
}

// A sniffer hears frames that arrive at a link of a namespace.
type sniffer struct {
	testing.TB
	fd int
}

func packets(t testing.TB, s space, link string) sniffer {
	t.Helper()
	var fd int
	index := s.LinkAt(link).Attrs().Index
	const every = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in the network's order
	s.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, every); err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: index})
	})
	return sniffer{t, fd}
}

func (s sniffer) send(frame []byte) {
	s.Helper()
	_, err := unix.Write(s.fd, frame)
	must(s, err)
}

// hears reports whether a frame arrives before one that may be sent in any case, which comes after it.
func (s sniffer) hears(from sniffer, frame []byte, mac net.HardwareAddr) bool {
	s.Helper()
	sentinels++
	return s.hearsBefore(from, frame, ethernetFrame(everybody, mac, unix.ETH_P_ARP+0x1000, fmt.Appendf(nil, "sentinel %032d", sentinels)))
}

// hearsBefore is hears, with another last frame.
func (s sniffer) hearsBefore(from sniffer, frame, last []byte) bool {
	s.Helper()
	from.send(frame)
	from.send(last)
	return s.heardBefore(frame, last)
}

// heardBefore reports whether a frame that was sent arrives before another one, which does in any case.
func (s sniffer) heardBefore(frame, last []byte) (heard bool) {
	s.Helper()
	buffer := make([]byte, 2000)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		n, _, err := unix.Recvfrom(s.fd, buffer, 0)
		switch {
		case err != nil:
		case bytes.HasPrefix(buffer[:n], last):
			return heard
		case bytes.HasPrefix(buffer[:n], frame), bytes.HasPrefix(buffer[:n], untagged(frame)):
			heard = true
		}
	}
	s.Fatal("not even what may be sent arrives")
	return false
}

var sentinels int

// untagged is a frame as a packet socket shows one whose tag the kernel has taken out.
func untagged(frame []byte) []byte {
	if kind := binary.BigEndian.Uint16(frame[12:]); kind == unix.ETH_P_8021Q || kind == unix.ETH_P_8021AD {
		return slices.Concat(frame[:12], frame[16:])
	}
	return frame
}
