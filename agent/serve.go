package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"go.uber.org/zap"
)

// requestTime bounds a request. Runtimes give up after a minute or more; code 11 tells them to come again.
const requestTime = 30 * time.Second

// listen opens the agent's socket, for the superuser alone.
func (a *Agent) listen() (*net.UnixListener, error) {
	if err := os.MkdirAll(a.spool(), 0o700); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	path := a.Socket()
	// The node's lock is ours: a socket file that is there is one that a former agent left behind.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("agent: remove the former socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("agent: listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // its name may be that of the next one by then: Run removes it
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("agent: %w", err)
	}
	return l, nil
}

// serve answers requests until ctx ends, and then those that are under way.
func (a *Agent) serve(ctx context.Context, l *net.UnixListener, limits limits) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var under sync.WaitGroup
	defer under.Wait()
	crowd := &crowd{limits: limits}
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("agent: accept: %w", err)
		case err != nil: // no descriptors or no memory: it passes, and whoever waits is still in the queue
			a.Log.Error("cannot accept a caller yet", zap.Error(err))
			pause(ctx, 50*time.Millisecond)
			continue
		}
		guest := crowd.enter(conn)
		under.Go(func() {
			defer conn.Close()
			if guest == nil {
				_ = wire.Reply(conn, &wire.Response{Error: wire.Errorf(wire.CodeTryAgain,
					"the agent is at work for %d callers, which is as many as it serves at once: try again", limits.connections)})
				return
			}
			defer guest.leave()
			a.serveOne(ctx, guest)
		})
	}
}

// serveOne reads one request and answers it. A request that has begun is finished even when the agent is to stop.
func (a *Agent) serveOne(stop context.Context, g *guest) {
	if uid, pid, err := wire.Peer(g.UnixConn); err != nil || uid != 0 {
		a.Log.Warn("refused a caller", zap.Int("uid", uid), zap.Int("pid", pid), zap.Error(err))
		_ = wire.Reply(g.UnixConn, &wire.Response{Error: wire.Errorf(wire.CodeIO,
			"the agent answers only uid 0 of its user namespace, and the caller is uid %d", uid)})
		return
	}
	silent := context.AfterFunc(stop, func() { g.CloseRead() })
	r, files, err := wire.ReceiveWithin(g.UnixConn, g.crowd.limits.receive, g.claim)
	silent()
	if cut := g.served(); cut != nil {
		err = cut
	}
	if err != nil {
		closeAll(files)
		_ = wire.Reply(g.UnixConn, &wire.Response{Error: wire.AsError(err)})
		return
	}
	response, took := a.work(g, r, files)
	g.answered()
	if err := wire.Reply(g.UnixConn, response); err != nil {
		a.Log.Debug("the caller has gone before its answer", zap.String("verb", r.Verb), zap.Error(err))
	}
	a.logRequest(r, response, took)
}

// work does what a request asks for, within its time. Its files are closed then: an open namespace stays alive.
func (a *Agent) work(g *guest, r *wire.Request, files []*os.File) (*wire.Response, time.Duration) {
	defer closeAll(files)
	ctx, cancel := context.WithTimeout(wire.UntilGone(context.Background(), g.UnixConn), requestTime)
	defer cancel()
	began := time.Now()
	response := a.respond(ctx, r, files)
	return response, time.Since(began)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// respond does what a request asks for.
func (a *Agent) respond(ctx context.Context, r *wire.Request, files []*os.File) *wire.Response {
	var response wire.Response
	var err error
	switch r.Operation {
	case wire.Status:
		err = a.statusOf(ctx, r)
	case wire.GC:
		err = a.gc(ctx, r)
	case wire.Insert:
		response.Results, err = a.insert(ctx, r, files)
	case wire.Delete:
		response.Results, err = a.delete(ctx, r, files)
	default: // read, and what is refused as unknown
		if r.Select == nil {
			response.Revision, err = a.read(ctx, r, files)
		} else if err = a.allowed(r.Operation); err == nil {
			response.Set, err = a.readSelected(ctx, r.Select)
		}
	}
	if err != nil {
		response = wire.Response{Error: wire.AsError(err)}
	}
	return &response
}

// logRequest writes one line, and counts.
func (a *Agent) logRequest(r *wire.Request, response *wire.Response, took time.Duration) {
	verb := r.Verb
	if verb == "" {
		verb = r.Operation
	}
	fields := []zap.Field{zap.String("verb", verb), zap.Duration("took", took)}
	for _, c := range r.Containers[:min(len(r.Containers), 3)] {
		fields = append(fields, zap.Stringer("attachment", allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}))
		if name := allocator.Workload(c.Workload.Bounded()).String(); name != "" {
			fields = append(fields, zap.String("workload", name))
		}
	}
	if n := len(r.Containers); n > 1 {
		fields = append(fields, zap.Int("containers", n))
	}
	var addresses []string
	for _, result := range response.Results[:min(len(response.Results), 3)] {
		for _, addr := range result.Addresses {
			addresses = append(addresses, addr.Address.Addr().String())
		}
	}
	if len(addresses) > 0 {
		fields = append(fields, zap.String("address", strings.Join(addresses, " ")))
	}
	if response.Error != nil {
		a.metrics.Request(verb, response.Error.Code, took)
		fields = append(fields, zap.Int("code", response.Error.Code), zap.String("error", response.Error.Error()))
		a.Log.Warn("request", fields...)
		return
	}
	a.metrics.Request(verb, 0, took)
	if verb == "STATUS" || verb == "VERSION" {
		a.Log.Debug("request", fields...)
		return
	}
	a.Log.Info("request", fields...)
}
