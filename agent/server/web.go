package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/findings"
)

// A Web is the agent's web server: it answers /metrics, /healthz and /readyz to all callers, and /v1/ to those that Access
// admits. It changes nothing.
type Web struct {
	Address  string                                              // host:port; empty: there is no server
	Listen   func(network, address string) (net.Listener, error) // as net.Listen does, by TCP
	Access   Access
	Node     Node
	Findings *findings.Board
	Metrics  http.Handler
}

// Serve answers until ctx ends.
func (s *Web) Serve(ctx context.Context) error {
	if s.Address == "" {
		return nil
	}
	l, err := s.Listen("tcp", s.Address)
	if err != nil {
		return fmt.Errorf("agent: listen for /metrics on %s: %w; choose another with --listen", s.Address, err)
	}
	g := &guard{Access: s.Access, loopback: l.Addr().(*net.TCPAddr).IP.IsLoopback()}
	if l, err = g.secure(l); err != nil {
		return errors.Join(err, l.Close())
	}
	limiter := &webLimiter{most: maxWebConns}
	server := &http.Server{
		Handler: s.handler(g), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10, ConnState: limiter.track, ErrorLog: zap.NewStdLog(zap.NewNop()), // failed TLS handshakes are not logged
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: one caller could send many requests at once
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("agent: serve %s: %w", s.Address, err)
	}
	return nil
}

func (s *Web) handler(g *guard) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		s.writeReady(w, g.admit(r) == nil)
	})
	mux.Handle("/v1/", g.protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveV1(s.Node, w, r) })))
	return mux
}

// writeReady is GET /readyz: whether the node can serve an ADD, why not, and its findings. A caller that is not admitted gets
// only the kinds of findings.
func (s *Web) writeReady(w http.ResponseWriter, whole bool) {
	if err := s.Node.NotReady(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	} else {
		fmt.Fprintln(w, "ok")
	}
	if whole {
		s.writeFindings(w)
		return
	}
	for kind, n := range s.Findings.Counts() {
		if n > 0 {
			fmt.Fprintf(w, "%s: %d; see \"berthctl status\"\n", kind, n)
		}
	}
}

// writeFindings lists the findings, one line each.
func (s *Web) writeFindings(w io.Writer) {
	for _, f := range s.Findings.List() {
		fmt.Fprintf(w, "%s %s: %s; %s (since %s)\n", f.Kind, f.Subject, f.Text, f.Advice, f.Since.Format("2006-01-02T15:04:05Z"))
	}
}
