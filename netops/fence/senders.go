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

// withSender makes an option of the nftables library that adds the address of a connection's socket, before anything is
// sent over it. The types are the library's own: C is its netlink connection.
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
			unnamed = err
		})
		return errors.Join(err, unnamed)
	})
}
