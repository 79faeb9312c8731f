package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestASessionIsNotLostWhileOneMemberOfEtcdHangs(t *testing.T) {
	l := lab.New(t)
	s := l.Hanging()
	me := lab.Node("n1")
	me.Session = allocator.Duration(record.MinSession)
	x, err := s.Join(t.Context(), me)
	l.Check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*record.MinSession)
	defer cancel()
	if err := x.Keep(ctx, lab.Told(func(time.Duration) {})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the session has ended: %v", err)
	}
}
