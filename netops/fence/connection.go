package fence

import (
	"fmt"
	"os"

	"github.com/google/nftables"
)

// A connection speaks nftables with the kernel of a network namespace. It serves one caller at a time.
type connection struct {
	home *os.File // the namespace
	ours *Senders
	conn *nftables.Conn // nil: the next commit opens it
}

// commit carries out what f asks for, in one transaction, over a connection that is kept as long as it works.
func (c *connection) commit(f func(*nftables.Conn) error) (err error) {
	if c.conn == nil {
		known := withSender(nftables.WithSockOptions, c.ours)
		if c.conn, err = nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(int(c.home.Fd())), known); err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
	}
	if err = f(c.conn); err == nil {
		err = c.conn.Flush()
	}
	if err != nil {
		c.close()
	}
	return err
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.CloseLasting()
		c.conn = nil
	}
}
