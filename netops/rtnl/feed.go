package rtnl

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Feed is a socket that receives the kernel's events.
type Feed struct {
	socket *os.File
	read   func(news []byte)
	lost   func() // the kernel dropped news
}

// feedBuffer is what the kernel may hold for us, in bytes: some ten thousand pieces of news.
const feedBuffer = 8 << 20

// OpenFeed subscribes to multicast groups of one of netlink's protocols, in the network namespace of the calling thread.
func OpenFeed(protocol int, read func(news []byte), lost func(), groups ...int) (*Feed, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, feedBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, feedBuffer)
	}
	mask := uint32(0)
	for _, g := range groups {
		mask |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: mask}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Feed{os.NewFile(uintptr(fd), "the kernel's news"), read, lost}, nil
}

// Listen reads until the feed is closed.
func (f *Feed) Listen() {
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

// SyscallConn is the socket's.
func (f *Feed) SyscallConn() (syscall.RawConn, error) { return f.socket.SyscallConn() }

// Close ends it: Listen returns.
func (f *Feed) Close() { f.socket.Close() }
