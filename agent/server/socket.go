package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
)

// A Handler serves a request until ctx ends, when its caller has gone or its time is over. The files are open until it returns.
type Handler func(ctx context.Context, r *wire.Request, files []*os.File) *wire.Response

// A Socket is where the agent answers, the superuser alone.
type Socket struct {
	Path   string
	Listen func(path string) (Listener, error)
	Spool  string // directory for the notes of callers that find no agent
	Disk   disk.Disk
	Limits Limits
	Handle Handler
	// Observe is called after each answered request, in no order; code is 0 where it succeeded.
	Observe func(verb string, code int, took time.Duration)
	Log     *zap.Logger

	mu       sync.Mutex
	listener Listener // the last
}

// Open makes the spool, and listens.
func (s *Socket) Open() (Listener, error) {
	if err := s.makeSpool(); err != nil {
		return nil, err
	}
	l, err := s.Listen(s.Path)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
	return l, nil
}

func (s *Socket) makeSpool() error {
	if err := s.Disk.MakeDir(s.Spool, 0o700); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// Remove removes the socket's file.
func (s *Socket) Remove() { _ = s.Disk.Remove(s.Path) }

// Repair restores the spool and the socket's file where they were removed. The listener is nil where the file was not.
func (s *Socket) Repair() (Listener, error) {
	if err := s.makeSpool(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l.InPlace() {
		return nil, nil
	}
	return s.Open()
}

// Serve answers the requests on l until ctx ends, and then those under way.
func (s *Socket) Serve(ctx context.Context, l Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var under sync.WaitGroup
	defer under.Wait()
	limiter := &limiter{limits: s.Limits}
	for {
		caller, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("agent: accept: %w", err)
		case err != nil: // no descriptors or no memory: temporary, and the callers stay queued
			s.Log.Error("cannot accept a caller yet; if it stays so, raise the limit of open files (ulimit -n, LimitNOFILE)", zap.Error(err))
			task.Pause(ctx, 50*time.Millisecond)
			continue
		}
		c := limiter.admit(caller)
		under.Go(func() {
			defer caller.Close()
			if c == nil {
				_ = wire.Reply(caller, &wire.Response{Error: wire.Errorf(wire.CodeTryAgain,
					"the agent is at work for %d callers, which is as many as it serves at once: try again", s.Limits.Connections)})
				return
			}
			defer c.done()
			s.serveOne(ctx, c)
		})
	}
}

// serveOne reads one request and answers it. A request that has begun is finished even when the agent is stopping.
func (s *Socket) serveOne(stop context.Context, c *conn) {
	if uid, pid, err := c.Peer(); err != nil || uid != 0 {
		s.Log.Warn("refused a caller that is not the superuser; run its program as root",
			zap.Int("uid", uid), zap.Int("pid", pid), zap.Error(err))
		_ = wire.Reply(c.Conn, &wire.Response{Error: wire.Errorf(wire.CodeIO,
			"the agent answers only uid 0 of its user namespace, and the caller is uid %d", uid)})
		return
	}
	silent := context.AfterFunc(stop, func() { c.CloseRead() })
	r, files, err := wire.Receive(c.Conn, s.Limits.Receive, c.claim)
	silent()
	if evicted := c.received(); evicted != nil {
		err = evicted
	}
	if err != nil {
		closeAll(files)
		_ = wire.Reply(c.Conn, &wire.Response{Error: wire.AsError(err)})
		return
	}
	response, took := s.handle(c, r, files)
	c.answering()
	if err := wire.Reply(c.Conn, response); err != nil {
		s.Log.Debug("the caller has gone before its answer", zap.String("verb", r.Verb), zap.Error(err))
	}
	verb, code := cmp.Or(r.Verb, r.Operation), 0
	if response.Error != nil {
		code = response.Error.Code
	}
	s.Observe(verb, code, took)
	logRequest(s.Log, verb, r, response, took)
}

// handle serves a request within its time, and then closes its files: an open namespace stays alive.
func (s *Socket) handle(c *conn, r *wire.Request, files []*os.File) (*wire.Response, time.Duration) {
	defer closeAll(files)
	ctx, cancel := context.WithTimeout(wire.UntilGone(context.Background(), c.Conn), wire.RequestTime)
	defer cancel()
	began := time.Now()
	response := s.Handle(ctx, r, files)
	return response, time.Since(began)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
