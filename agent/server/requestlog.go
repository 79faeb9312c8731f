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

// logRequest logs a request that has been answered.
func logRequest(log *zap.Logger, verb string, r *wire.Request, response *wire.Response, took time.Duration) {
	fields := append([]zap.Field{zap.String("verb", verb), zap.Duration("took", took)}, fieldsOf(r, response)...)
	if response.Error != nil {
		log.Warn("request", append(fields, zap.Int("code", response.Error.Code), zap.String("error", response.Error.Error()))...)
		return
	}
	if verb == "STATUS" || verb == "VERSION" {
		log.Debug("request", fields...)
		return
	}
	log.Info("request", fields...)
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
