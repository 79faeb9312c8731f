package server

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/wire"
)

// A Listener accepts the agent's callers at a path.
type Listener interface {
	// Accept fails with net.ErrClosed once the listener is closed. Any other error is temporary.
	Accept() (Conn, error)
	// InPlace reports whether callers still find the listener at its path. If the system cannot say, they do.
	InPlace() bool
	Close() error
}

// A Conn is the connection of a caller, of which the system says who it is.
type Conn interface {
	wire.Conn
	CloseRead() error
	Peer() (uid, pid int, err error)
}

// ListenUnix listens at a path, in place of any file there, for the superuser alone. The caller has the node's lock, so that no
// process listens at the former file.
func ListenUnix(path string) (Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("agent: remove the former socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("agent: listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // the path may be another listener's by then: Remove does it
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("agent: %w", err)
	}
	at, err := disk.Machine{}.Stat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("agent: %w", err)
	}
	return &unixListener{l, path, at.ID}, nil
}

type unixListener struct {
	*net.UnixListener
	path string
	file disk.ID // as ListenUnix has made it
}

func (l *unixListener) Accept() (Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return unixConn{c}, nil
}

func (l *unixListener) InPlace() bool {
	there, err := disk.Machine{}.Stat(l.path)
	return err == nil && there.ID == l.file || err != nil && !disk.Gone(err)
}

type unixConn struct{ *net.UnixConn }

func (c unixConn) Peer() (uid, pid int, err error) { return wire.Peer(c.UnixConn) }
