package lease

import (
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A wire is a way to etcd that a test can cut: what was sent by then may have arrived, and no answer comes back.
type wire struct {
	endpoint string
	target   string

	mu    sync.Mutex
	down  bool
	hung  chan struct{} // not nil: nothing is carried until it is closed
	conns map[net.Conn]bool

	shaky bool // it breaks by itself, again and again
	lost  atomic.Int64
}

func (l *lab) wire(shaky ...bool) *wire {
	l.Helper()
	path := filepath.Join(l.TempDir(), "w")
	listener, err := net.Listen("unix", path)
	l.check(err)
	w := &wire{endpoint: "unix://" + path, target: strings.TrimPrefix(l.options.Endpoints[0], "unix://"), conns: map[net.Conn]bool{},
		shaky: len(shaky) > 0}
	l.Cleanup(func() {
		listener.Close()
		w.cut()
		if w.hung != nil {
			close(w.hung)
		}
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.carry(conn)
		}
	}()
	return w
}

func (w *wire) carry(conn net.Conn) {
	defer conn.Close()
	etcd, err := net.Dial("unix", w.target)
	if err != nil || !w.add(conn) {
		return
	}
	defer etcd.Close()
	go func() {
		defer etcd.Close()
		w.copy(etcd, conn, func(request []byte) {
			// The client gives up, and what it has sent arrives nevertheless, late.
			conn.Close()
			time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			_, _ = etcd.Write(request)
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		})
	}()
	w.copy(conn, etcd, func([]byte) {}) // what was asked for was done, and the answer is lost
}

// copy carries data, until a shaky wire breaks.
func (w *wire) copy(to io.Writer, from io.Reader, lose func([]byte)) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.await()
		if w.shaky && rand.IntN(10) == 0 {
			w.lost.Add(1)
			lose(buffer[:n])
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *wire) add(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = true
	return !w.down
}

// hang keeps every connection, and new ones can be made, but nothing is carried until the test ends.
func (w *wire) hang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hung = make(chan struct{})
}

func (w *wire) await() {
	w.mu.Lock()
	hung := w.hung
	w.mu.Unlock()
	if hung != nil {
		<-hung
	}
}

// drop breaks every connection; new ones can be made.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		conn.Close()
	}
	clear(w.conns)
}

// cut breaks every connection, and lets none be made until mend.
func (w *wire) cut() {
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	w.drop()
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// event is a change of a key at a revision.
func event(key, value string, revision int64, deleted bool) *clientv3.Event {
	e := &clientv3.Event{Type: mvccpb.PUT, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision}}
	if deleted {
		e.PrevKv = &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision - 1}
		e.Type, e.Kv.Value = mvccpb.DELETE, nil
	}
	return e
}
