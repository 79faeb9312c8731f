package netops

import (
	"os"
	"sync"
)

// sockets lends the sockets of one namespace and keeps a few for the next caller.
type sockets struct {
	namespace *os.File

	mu     sync.Mutex
	idle   []*socket
	closed bool
}

// idleSockets bounds the sockets that are kept.
const idleSockets = 16

// with runs f with a socket of its own.
func (p *sockets) with(f func(*socket) error) error {
	s, err := p.borrow()
	if err != nil {
		return err
	}
	defer p.giveBack(s)
	return f(s)
}

func (p *sockets) borrow() (*socket, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	var s *socket
	err := within(p.namespace, func() (err error) { s, err = openSocket(); return err })
	return s, err
}

func (p *sockets) giveBack(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.broken || p.closed || len(p.idle) >= idleSockets {
		s.close()
		return
	}
	p.idle = append(p.idle, s)
}

func (p *sockets) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		s.close()
	}
	p.idle = nil
}
