package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/rollout"
)

// serveV1 answers below /v1/ in JSON, errors too: those are {"code": ..., "message": ...}, with the codes of the socket.
func serveV1(n Node, w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/v1/version":
		refuse(w, http.StatusNotFound, wire.Errorf(wire.CodeUnsupported, "there is no %s: want /v1/version", r.URL.Path))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, wire.Errorf(wire.CodeUnsupported, "method %s: %s is only read: want GET", r.Method, r.URL.Path))
	default:
		serveVersion(n, w, r)
	}
}

// serveVersion is GET /v1/version. The set is named by containers, app, node and pool; live=true ignores what only new containers
// can get.
func serveVersion(n Node, w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, wire.Errorf(wire.CodeDecode, "query %q: %w", r.URL.RawQuery, err))
		return
	}
	set, err := rollout.SelectorOf(query)
	if err != nil {
		refuse(w, http.StatusBadRequest, wire.Errorf(wire.CodeOperation, "%w", err))
		return
	}
	v, err := n.VersionOf(r.Context(), set)
	if err != nil {
		e := wire.AsError(err)
		refuse(w, statusFor(e.Code), e)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has hung up needs no answer
}

// statusFor is the HTTP status of a code of the socket.
func statusFor(code int) int {
	switch code {
	case wire.CodeUnknown:
		return http.StatusNotFound
	case wire.CodeOperation: // switched off
		return http.StatusForbidden
	case wire.CodeTryAgain:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func refuse(w http.ResponseWriter, status int, e *wire.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(e) // who has hung up needs no answer
}

// A Node is what the web server reports on.
type Node interface {
	// NotReady says why the node cannot serve an ADD, or nil.
	NotReady() error
	// VersionOf is the version of a set of containers, wherever they run. Its errors have the codes of the socket.
	VersionOf(ctx context.Context, set rollout.Selector) (*wire.SetVersion, error)
}
