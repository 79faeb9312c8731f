package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A proxy stands before etcd. While it is stuck it takes what comes and passes nothing on, as a partition would.
type proxy struct {
	path, to string

	mu    sync.Mutex
	stuck chan struct{} // closed when it is stuck no more; nil: it is not
}

func newProxy(t *testing.T, endpoint, path string) *proxy {
	t.Helper()
	p := &proxy{path: path, to: strings.TrimPrefix(endpoint, "unix://")}
	l, err := net.Listen("unix", path)
	check(t, err)
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", p.to)
			if err != nil {
				from.Close()
				continue
			}
			go p.pass(from, to)
			go p.pass(to, from)
		}
	}()
	t.Cleanup(func() {
		p.unstick()
		l.Close()
	})
	return p
}

func (p *proxy) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		stuck := p.stuck
		p.mu.Unlock()
		if stuck != nil {
			<-stuck
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) stick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = make(chan struct{})
}

func (p *proxy) unstick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck != nil {
		close(p.stuck)
		p.stuck = nil
	}
}

func rightsOf(fds []int) []byte { return syscall.UnixRights(fds...) }

// descriptors counts those that this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.Open("/proc/self/fd")
	check(t, err)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if check(t, err); errors.Is(err, io.EOF) {
		t.Fatal("no descriptor is open")
	}
	return len(names)
}
