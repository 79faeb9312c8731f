package server

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// named is how many of a request's containers its log line names.
const named = 3

// note logs a request, and has it observed.
func (s *Socket) note(r *wire.Request, response *wire.Response, took time.Duration) {
	verb := r.Verb
	if verb == "" {
		verb = r.Operation
	}
	fields := append([]zap.Field{zap.String("verb", verb), zap.Duration("took", took)}, fieldsOf(r, response)...)
	if response.Error != nil {
		s.Observe(verb, response.Error.Code, took)
		s.Log.Warn("request", append(fields, zap.Int("code", response.Error.Code), zap.String("error", response.Error.Error()))...)
		return
	}
	s.Observe(verb, 0, took)
	if verb == "STATUS" || verb == "VERSION" {
		s.Log.Debug("request", fields...)
		return
	}
	s.Log.Info("request", fields...)
}

// fieldsOf names the containers of a request and their addresses.
func fieldsOf(r *wire.Request, response *wire.Response) (fields []zap.Field) {
	for _, c := range r.Containers[:min(len(r.Containers), named)] {
		fields = append(fields, zap.Stringer("attachment", allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}))
		if name := allocator.Workload(c.Workload.Bounded()).String(); name != "" {
			fields = append(fields, zap.String("workload", name))
		}
	}
	if n := len(r.Containers); n > 1 {
		fields = append(fields, zap.Int("containers", n))
	}
	var addresses []string
	for _, result := range response.Results[:min(len(response.Results), named)] {
		for _, addr := range result.Addresses {
			addresses = append(addresses, addr.Address.Addr().String())
		}
	}
	if len(addresses) > 0 {
		fields = append(fields, zap.String("address", strings.Join(addresses, " ")))
	}
	return fields
}
