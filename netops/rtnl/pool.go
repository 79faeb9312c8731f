package rtnl

import (
	"os"
	"sync"
)

// A Pool lends the sockets of one namespace and keeps a few for the next caller.
type Pool struct {
	namespace *os.File

	mu     sync.Mutex
	idle   []*Socket
	closed bool
}

// NewPool lends sockets of a network namespace. The caller closes namespace after the pool.
func NewPool(namespace *os.File) *Pool { return &Pool{namespace: namespace} }

// idleSockets bounds the sockets that are kept.
const idleSockets = 16

// With runs f with a socket of its own.
func (p *Pool) With(f func(*Socket) error) error {
	s, err := p.borrow()
	if err != nil {
		return err
	}
	defer p.giveBack(s)
	return f(s)
}

func (p *Pool) borrow() (*Socket, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	var s *Socket
	err := Within(p.namespace, func() (err error) { s, err = OpenSocket(); return err })
	return s, err
}

func (p *Pool) giveBack(s *Socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.broken || p.closed || len(p.idle) >= idleSockets {
		s.Close()
		return
	}
	p.idle = append(p.idle, s)
}

// Close closes the idle sockets, and the others when they are returned.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		s.Close()
	}
	p.idle = nil
}
