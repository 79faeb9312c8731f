package netops

import (
	"errors"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// changes tells of changes of the table that are not ours.
type changes struct {
	ours  *senders
	told  chan<- Event
	dirty bool // the transaction under way has one
}

func (c *changes) read(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, m := range messages {
		switch {
		case m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN:
			c.dirty = c.dirty || ofTable(m.Data) && !c.ours.has(m.Header.Pid)
		case c.dirty: // the transaction's end
			c.dirty = false
			c.told <- Event{Kind: TableChanged}
		}
	}
}

func (c *changes) lost() {
	c.dirty = false
	c.told <- Event{Kind: TableChanged}
}

// ofTable reports whether news of a table, or of what is in one, is about ours. After struct nfgenmsg, whose first byte
// is the family, the first attribute of all of them is the table's name (NFTA_TABLE_NAME and its like).
func ofTable(body []byte) bool {
	const sizeofHeader = 4
	if len(body) < sizeofHeader || body[0] != byte(filterTable.Family) {
		return false
	}
	for kind, value := range attributes(body[sizeofHeader:]) {
		if kind == unix.NFTA_TABLE_NAME {
			return text(value) == filterTable.Name
		}
	}
	return false
}

// senders are the addresses of the sockets by which we change the table: news names the one that caused it.
type senders struct{ ports sync.Map }

func (s *senders) has(port uint32) bool {
	_, ok := s.ports.Load(port)
	return ok
}

// withSender makes an option of the nftables library that adds the address of a connection's socket, before anything is
// sent over it. The types are the library's own: C is its netlink connection.
func withSender[C syscall.Conn, O ~func(C) error](with func(...O) nftables.ConnOption, s *senders) nftables.ConnOption {
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
