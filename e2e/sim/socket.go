package sim

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/internal/wire"
)

// A socket is where a node's agent is called, in memory.
type socket struct {
	mu       sync.Mutex
	listener *listener
}

// listen is what an agent listens by.
func (s *socket) listen(string) (server.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = &listener{callers: make(chan *agentConn, 64), closed: make(chan struct{})}
	return s.listener, nil
}

// dial is how a caller reaches the agent. Its errors are connect(2)'s.
func (s *socket) dial() (wire.CallerConn, error) {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: syscall.ENOENT}
	}
	caller, agent := net.Pipe()
	files := &inTransit{}
	c := &agentConn{Conn: agent, files: files}
	if !l.queue(c) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: syscall.ECONNREFUSED}
	}
	return &callerConn{caller, files}, nil
}

// cut closes the listener and what it has accepted, as the kernel does when a process ends.
func (s *socket) cut() {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l != nil {
		l.end()
	}
}

type listener struct {
	callers chan *agentConn
	closed  chan struct{}

	mu       sync.Mutex
	isClosed bool
	accepted []*agentConn
}

func (l *listener) queue(c *agentConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return false
	}
	select {
	case l.callers <- c:
		return true
	default:
		return false
	}
}

func (l *listener) Accept() (server.Conn, error) {
	select {
	case c := <-l.callers:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.accepted = append(l.accepted, c)
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) InPlace() bool { return true }

func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isClosed {
		l.isClosed = true
		close(l.closed)
		for {
			select {
			case c := <-l.callers:
				c.Close()
				continue
			default:
			}
			break
		}
	}
	return nil
}

func (l *listener) end() {
	_ = l.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.accepted {
		c.Close()
	}
}

// inTransit are the files that were sent and not yet received.
type inTransit struct {
	mu  sync.Mutex
	fds []int
}

func (t *inTransit) take() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	fds := t.fds
	t.fds = nil
	return fds
}

// callerConn is the caller's side.
type callerConn struct {
	net.Conn
	files *inTransit
}

func (c *callerConn) WriteMsgUnix(b, oob []byte, _ *net.UnixAddr) (n, oobn int, err error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, 0, err
	}
	c.files.mu.Lock()
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
				c.files.fds = append(c.files.fds, fd)
			}
		}
	}
	c.files.mu.Unlock()
	n, err = c.Write(b)
	return n, len(oob), away(err)
}

func (c *callerConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, away(err)
}

func (c *callerConn) ReadMsgUnix(b, _ []byte) (n, oobn, flags int, addr *net.UnixAddr, err error) {
	n, err = c.Read(b)
	return n, 0, 0, nil, err
}

// away makes the error of a pipe that is closed that of a socket.
func away(err error) error {
	if err == nil || os.IsTimeout(err) {
		return err
	}
	return syscall.EPIPE
}

// agentConn is the agent's side.
type agentConn struct {
	net.Conn
	files *inTransit
}

func (c *agentConn) ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error) {
	n, err = c.Read(b)
	if fds := c.files.take(); len(fds) > 0 {
		oobn = copy(oob, syscall.UnixRights(fds...))
	}
	return n, oobn, 0, nil, err
}

func (c *agentConn) CloseRead() error { return c.SetReadDeadline(time.Unix(1, 0)) }

func (c *agentConn) Peer() (uid, pid int, err error) { return 0, 1, nil }

func (c *agentConn) Close() error {
	for _, fd := range c.files.take() {
		unix.Close(fd)
	}
	return c.Conn.Close()
}
