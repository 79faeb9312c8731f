package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
)

// revision is the version as this node knows it.
func (a *Agent) revision() *wire.Revision {
	revision, applied := a.config.Load().Revision, a.lagging.revision()
	return &wire.Revision{Revision: revision, Applied: applied, Complete: applied == revision}
}

// readSet is the version of a set, wherever its containers are. Etcd tells it, as it tells berthctl.
func (a *Agent) readSet(ctx context.Context, s *wire.Select) (*wire.SetVersion, error) {
	set := lease.Selector{Containers: s.Containers, Node: s.Node, Pool: s.Pool}
	if s.App != "" {
		namespace, app, ok := strings.Cut(s.App, "/")
		if !ok {
			return nil, wire.Errorf(wire.CodeOperation, "app %q: want NAMESPACE/APP", s.App)
		}
		set.App = allocator.App{Namespace: namespace, Name: app}
	}
	v, err := a.store.Version(ctx, set)
	if _, wrong := errors.AsType[*lease.SelectorError](err); wrong {
		return nil, wire.Errorf(wire.CodeUnknown, "%v", err)
	}
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "the version cannot be read now: %v", err)
	}
	out := &wire.SetVersion{
		Revision: v.Revision, Complete: v.Complete, UpToDate: v.UpToDate, Total: v.Total,
		Containers: []wire.ContainerVersion{}, Nodes: []wire.NodeVersion{},
	}
	for _, c := range v.Containers {
		out.Containers = append(out.Containers, wire.ContainerVersion(c))
	}
	for _, n := range v.Nodes {
		out.Nodes = append(out.Nodes, wire.NodeVersion(n))
	}
	return out, nil
}

// versionTime bounds how long etcd may take for it: short of the time after which the web server answers nothing.
const versionTime = 10 * time.Second

// serveVersion is GET /v1/version: the set is named by container (as often as wanted), app, node and pool.
func (a *Agent) serveVersion(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for key := range q {
		if key != "container" && key != "app" && key != "node" && key != "pool" {
			http.Error(w, fmt.Sprintf("parameter %q is unknown: there are container, app, node and pool", key), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), versionTime)
	defer cancel()
	v, err := a.readSet(ctx, &wire.Select{Containers: q["container"], App: q.Get("app"), Node: q.Get("node"), Pool: q.Get("pool")})
	if err != nil {
		status := http.StatusServiceUnavailable
		if e := wire.AsError(err); e.Code != wire.CodeTryAgain {
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has hung up needs no answer
}
