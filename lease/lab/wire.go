package lab

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
)

// Hanging is a store with three ways to etcd, as to three members, of which one hangs.
func (l *Lab) Hanging(more ...func(*kv.Options)) *Store {
	l.Helper()
	wires := []*Wire{l.Wire(), l.Wire(), l.Wire()}
	s := l.Store(append(more, func(o *kv.Options) {
		o.Endpoints = []string{wires[0].Endpoint, wires[1].Endpoint, wires[2].Endpoint}
	})...)
	l.Until("each member is connected", func() bool {
		_, err := s.Config.Read(l.Context())
		l.Check(err)
		connected := 0
		for _, w := range wires {
			w.mu.Lock()
			connected += min(1, len(w.conns))
			w.mu.Unlock()
		}
		return connected == len(wires)
	})
	wires[1].hang()
	return s
}

// Shaky runs work with a store whose way to etcd breaks again and again, with requests and answers lost on it.
func (l *Lab) Shaky(work func(s *Store)) {
	l.Helper()
	w := l.Wire(true)
	work(l.Store(func(o *kv.Options) { o.Endpoints = []string{w.Endpoint} }))
	if lost := w.lost.Load(); lost == 0 {
		l.Errorf("of %d connections none broke", len(w.conns))
	}
}

// Insist does a thing until it is done or refused: an unclear end is followed by one more try.
func (l *Lab) Insist(do func(ctx context.Context) error) error {
	for end := time.Now().Add(30 * time.Second); ; {
		// Half of the callers lose patience, too.
		ctx, cancel := context.WithTimeout(l.Context(), time.Duration(1+rand.IntN(200))*time.Millisecond)
		err := do(ctx)
		cancel()
		if err == nil || !kv.Unavailable(err) || time.Now().After(end) {
			return err
		}
	}
}

// InsistJoin joins as often as it takes.
func (l *Lab) InsistJoin(s *Store, name string) (x *Joined) {
	if err := l.Insist(func(ctx context.Context) (err error) { x, err = s.Join(ctx, Node(name)); return err }); err != nil {
		l.Error(err)
	}
	return x
}

// A Wire is a way to etcd that a test can cut: what was sent by then may have arrived, and no answer comes back.
type Wire struct {
	Endpoint string
	target   string

	mu    sync.Mutex
	down  bool
	hung  chan struct{} // not nil: nothing is carried until it is closed
	conns map[net.Conn]bool

	shaky bool // it breaks by itself, again and again
	lost  atomic.Int64
}

// Wire is a way to the lab's etcd; a shaky one breaks by itself.
func (l *Lab) Wire(shaky ...bool) *Wire {
	l.Helper()
	path := filepath.Join(l.TempDir(), "w")
	listener, err := net.Listen("unix", path)
	l.Check(err)
	w := &Wire{Endpoint: "unix://" + path, target: strings.TrimPrefix(l.Options.Endpoints[0], "unix://"), conns: map[net.Conn]bool{},
		shaky: len(shaky) > 0}
	l.Cleanup(func() {
		listener.Close()
		w.Cut()
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

func (w *Wire) carry(conn net.Conn) {
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
func (w *Wire) copy(to io.Writer, from io.Reader, lose func([]byte)) {
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

func (w *Wire) add(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = true
	return !w.down
}

// hang keeps every connection, and new ones can be made, but nothing is carried until the test ends.
func (w *Wire) hang() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hung = make(chan struct{})
}

func (w *Wire) await() {
	w.mu.Lock()
	hung := w.hung
	w.mu.Unlock()
	if hung != nil {
		<-hung
	}
}

// drop breaks every connection; new ones can be made.
func (w *Wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		conn.Close()
	}
	clear(w.conns)
}

// Cut breaks every connection, and lets none be made until Repair.
func (w *Wire) Cut() {
	w.mu.Lock()
	w.down = true
	w.mu.Unlock()
	w.drop()
}

// Repair lets connections be made again.
func (w *Wire) Repair() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}
