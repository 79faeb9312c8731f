package kv_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestNothingHangsForEverWhileEtcdIsAway(t *testing.T) {
	l := lab.New(t)
	l.Options.Endpoints = []string{"unix:///nowhere/etcd.sock"}
	s := l.Store()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{
		"config": lab.Second(s.Config.Read(ctx)),
		"blocks": lab.Second(s.Blocks.List(ctx)),
		"join":   lab.Second(s.Join(ctx, lab.Node("n1"))),
		"detach": s.Reservations.Detach(ctx, []reservation.Detachment{{Pool: "default", Addresses: []netip.Addr{lab.Addr("10.42.0.9")}}}),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
