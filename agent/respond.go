package agent

import (
	"context"
	"os"

	"github.com/berth-ipam/berth/internal/wire"
)

// respond does what a request asks for.
func (a *Agent) respond(ctx context.Context, r *wire.Request, files []*os.File) *wire.Response {
	var response wire.Response
	var err error
	switch r.Operation {
	case wire.Status:
		err = a.reporter.StatusOf(ctx, r)
	case wire.GC:
		err = a.detacher.Gc(ctx, r)
	case wire.Insert:
		response.Results, err = a.attacher.Insert(ctx, r, files)
	case wire.Delete:
		response.Results, err = a.detacher.Delete(ctx, r, files)
	default: // read, and what is refused as unknown
		if r.Select == nil {
			response.Revision, err = a.attacher.Read(ctx, r, files)
		} else if err = a.Allowed(r.Operation); err == nil {
			response.Set, err = a.reporter.ReadSelected(ctx, r.Select)
		}
	}
	if err != nil {
		response = wire.Response{Error: wire.AsError(err)}
	}
	return &response
}
