package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveHTTP answers /metrics, /healthz, /readyz and /v1/version. It tells, and changes nothing.
func (a *Agent) serveHTTP(ctx context.Context) error {
	if a.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", a.Listen)
	if err != nil {
		return fmt.Errorf("agent: listen for /metrics on %s: %w; choose another with --listen", a.Listen, err)
	}
	a.httpAddress.Store(l.Addr().String())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", a.serveReady)
	mux.HandleFunc("GET /v1/version", a.serveVersion)
	visitors := &visitors{most: maxVisitors}
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10, ConnState: visitors.see,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("agent: serve %s: %w", a.Listen, err)
	}
	return nil
}

// serveReady is GET /readyz: whether the node can serve an ADD, why not, and what is wrong on it all the same.
func (a *Agent) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := a.ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	} else {
		fmt.Fprintln(w, "ok")
	}
	a.writeFindings(w)
}
