package member

import (
	"context"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestARefusalToJoinIsLoggedOnceAndTriedLessAndLessOften(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	var again rejoin
	old := &kv.ReleaseError{Endpoint: "http://a:1", Version: "3.6.8"}
	for range 3 {
		again.failed(canceled(t), zap.New(core), old)
	}
	if n := logged.Len(); n != 1 {
		t.Errorf("it is logged %d times, want once", n)
	}
	if again.pause != 4*firstJoin {
		t.Errorf("after three refusals the next try is in %v, want %v", again.pause, 4*firstJoin)
	}
	again.failed(canceled(t), zap.New(core), reservation.ErrNotReserved)
	if again.pause != firstJoin || logged.Len() != 2 {
		t.Errorf("where etcd is only away the next try is in %v, and the log has %d lines: want %v, and 2", again.pause, logged.Len(), firstJoin)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
