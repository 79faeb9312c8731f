package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// serveHTTP answers /metrics, /healthz and /readyz to everybody, and /v1/ to whom access lets in. It tells, and changes
// nothing.
func (a *Agent) serveHTTP(ctx context.Context) error {
	if a.Listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", a.Listen)
	if err != nil {
		return fmt.Errorf("agent: listen for /metrics on %s: %w; choose another with --listen", a.Listen, err)
	}
	a.httpAddress.Store(l.Addr().String())
	access := &access{Access: a.Access, loopback: isLoopback(l.Addr())}
	if l, err = access.secure(l); err != nil {
		return errors.Join(err, l.Close())
	}
	visitors := &visitors{most: maxVisitors}
	server := &http.Server{
		Handler: a.handler(access), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10, ConnState: visitors.see, ErrorLog: zap.NewStdLog(zap.NewNop()), // who fails at TLS need not fill the log
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/2 would let one visitor ask many things at once
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("agent: serve %s: %w", a.Listen, err)
	}
	return nil
}

func (a *Agent) handler(access *access) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 16}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if access.admit(r) == nil {
			a.serveReady(w, r)
		} else {
			a.serveReadyBriefly(w)
		}
	})
	mux.Handle("/v1/", access.guard(http.HandlerFunc(a.serveV1)))
	return mux
}

func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// serveReady is GET /readyz: whether the node can serve an ADD, why not, and what is wrong on it all the same.
func (a *Agent) serveReady(w http.ResponseWriter, _ *http.Request) {
	a.writeReady(w)
	a.writeFindings(w)
}

// serveReadyBriefly is serveReady for who may not ask which containers and addresses there are: of what is wrong it tells
// only the kinds.
func (a *Agent) serveReadyBriefly(w http.ResponseWriter) {
	a.writeReady(w)
	for kind, n := range a.findings.Counts() {
		if n > 0 {
			fmt.Fprintf(w, "%s: %d; see \"berthctl status\"\n", kind, n)
		}
	}
}

func (a *Agent) writeReady(w http.ResponseWriter) {
	if err := a.ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
