package fence

import (
	"errors"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Senders are the addresses of the sockets by which this process changes the table: an event names the socket that caused it.
type Senders struct{ ports sync.Map }

func (s *Senders) has(port uint32) bool {
	_, ok := s.ports.Load(port)
	return ok
}

// withSender makes an option of the nftables library that adds the address of a connection's socket, and widens the socket, before
// anything is sent over it. The types are the library's own: C is its netlink connection.
func withSender[C syscall.Conn, O ~func(C) error](with func(...O) nftables.ConnOption, s *Senders) nftables.ConnOption {
	return with(func(conn C) error {
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		var unnamed error
		err = raw.Control(func(fd uintptr) {
			address, err := unix.Getsockname(int(fd))
			if own, ok := address.(*unix.SockaddrNetlink); ok {
				s.ports.Store(own.Pid, nil)
			}
			widen(int(fd))
			unnamed = err
		})
		return errors.Join(err, unnamed)
	})
}

// sendBuffer has room for a transaction that names all members of both tables, in bytes.
const sendBuffer = 8 << 20

// widen makes room for large transactions. Without the right to go beyond the machine's limit (net.core.wmem_max) it goes as far.
func widen(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
}
