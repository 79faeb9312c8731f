package netops

import (
	"errors"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// changes tells of changes of our tables that are not ours.
type changes struct {
	ours  *senders
	told  chan<- Event
	dirty map[EventKind]bool // what the transaction under way is to be told as
}

func (c *changes) read(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, m := range messages {
		if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
			c.tell() // the transaction's end
		} else if kind := concerns(m.Data); kind != 0 && !c.ours.has(m.Header.Pid) {
			c.dirty[kind] = true
		}
	}
}

func (c *changes) tell() {
	for kind := range c.dirty {
		c.told <- Event{Kind: kind}
	}
	clear(c.dirty)
}

func (c *changes) lost() {
	c.dirty[TableChanged], c.dirty[HostChanged] = true, true
	c.tell()
}

// concerns says what news of a table, or of what is in one, is to be told as; 0: it is not about ours. After struct nfgenmsg,
// whose first byte is the family, the first attribute of all of them is the table's name (NFTA_TABLE_NAME and its like).
func concerns(body []byte) EventKind {
	const sizeofHeader = 4
	if len(body) < sizeofHeader {
		return 0
	}
	for kind, value := range attributes(body[sizeofHeader:]) {
		if kind != unix.NFTA_TABLE_NAME {
			continue
		}
		name, family := text(value), nftables.TableFamily(body[0])
		switch {
		case name == filterTable.Name && family == filterTable.Family:
			return TableChanged
		case name == natTable && (family == nftables.TableFamilyIPv4 || family == nftables.TableFamilyIPv6):
			return HostChanged
		}
		return 0
	}
	return 0
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
