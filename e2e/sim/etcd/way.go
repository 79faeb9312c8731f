package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-ipam/berth/e2e/sim/chance"
	"github.com/berth-ipam/berth/lease/kv"
)

// A Condition is what the way between a node and etcd is like. The zero one is good.
type Condition struct {
	Slow         time.Duration // what each message takes longer, at most
	Cut          bool          // requests do not arrive
	CutBack      bool          // requests arrive; answers and events do not
	LoseRequest  int           // one of so many requests is lost; 0: none
	LoseAnswer   int           // one of so many answers is
	Late         int           // one of so many requests arrives long after its caller has given up
	Repeat       int           // one of so many transactions arrives twice
	RefuseAtOnce bool          // while etcd is down callers are told so, and do not wait
	Hang         bool          // the member that it leads to takes requests, and carries them out when it does not hang any more
	Deny         bool          // etcd's user may read nothing and write nothing
	DenyWrites   bool          // etcd's user may write nothing
	Frozen       int64         // reads are answered as of this revision, and nothing else is: etcd before issue 20418 was mended
}

const (
	usual = 3 * time.Millisecond // what each message takes, at most
	late  = 20 * time.Second     // what a late request takes, at most
)

// A Way is a node's way to etcd. It outlives the node's processes, each of which connects by Process.
type Way struct {
	Server *Server
	Chance *chance.Source

	under sync.WaitGroup // requests under way

	mu        sync.Mutex
	condition Condition
	changed   chan struct{} // closed when the condition changes
}

// NewWay makes a good way.
func NewWay(s *Server, c *chance.Source) *Way {
	return &Way{Server: s, Chance: c, changed: make(chan struct{})}
}

// Set changes what the way is like. What is under way stays so.
func (w *Way) Set(c Condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.condition = c
	close(w.changed)
	w.changed = make(chan struct{})
}

// Condition is what the way is like, and a channel that is closed when that changes.
func (w *Way) Condition() (Condition, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.condition, w.changed
}

// Process is the way of one process. seam is called before a request is sent and after it was answered, with what it is, and may end
// the calling goroutine; nil: it is not called.
func (w *Way) Process(seam func(point string)) kv.Network {
	if seam == nil {
		seam = func(string) {}
	}
	return &connection{way: w, seam: seam}
}

// span is how long one message takes.
func (w *Way) span(kind string, c Condition) time.Duration {
	return time.Microsecond + w.Chance.Span("span of "+kind, usual+c.Slow)
}

// errDown is what a client says that reaches no server.
var errDown = status.Error(codes.Unavailable, "etcd in a bubble: it does not run")

// ask sends a request and waits for its answer. What was sent is carried out even if the caller gives up, or ends.
func ask[T any](ctx context.Context, p *connection, kind string, f func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	p.way.under.Add(1)
	defer p.way.under.Done()
	p.seam("before " + kind)
	if err := ctx.Err(); err != nil { // nothing is sent for who has given up before
		var none T
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	w := p.way
	w.under.Go(func() {
		c := w.arrive(kind)
		if c.Late > 0 && w.Chance.In("late "+kind, c.Late) {
			time.Sleep(w.Chance.Span("how late "+kind, late))
		}
		if c.Cut || w.Chance.In("lost "+kind, c.LoseRequest) {
			return
		}
		a := answer{err: errDown}
		times := 1
		if w.Chance.In("repeat "+kind, c.Repeat) {
			times = 2
		}
		for range times {
			if client := w.Server.Client(); client != nil {
				bounded, end := context.WithTimeout(context.WithoutCancel(ctx), late)
				a.value, a.err = f(bounded, client)
				end()
			} else if !c.RefuseAtOnce {
				return
			}
		}
		w.sleep(kind, c)
		if c, _ := w.Condition(); !c.Cut && !c.CutBack && !w.Chance.In("lost answer "+kind, c.LoseAnswer) {
			answers <- a
		}
	})
	select {
	case a := <-answers:
		p.seam("after " + kind)
		return a.value, a.err
	case <-ctx.Done():
		p.seam("after " + kind)
		var none T
		return none, ctx.Err()
	}
}

// arrive is what it takes until a request arrives.
func (w *Way) arrive(kind string) Condition {
	c, changed := w.Condition()
	w.sleep(kind, c)
	for c.Hang {
		<-changed
		c, changed = w.Condition()
	}
	return c
}

func (w *Way) sleep(kind string, c Condition) { time.Sleep(w.span(kind, c)) }

// Wait waits until nothing is under way.
func (w *Way) Wait() { w.under.Wait() }
