package block_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func demandsNow(l *lab.Lab) []record.Demand {
	l.Helper()
	all, err := l.Store().Blocks.Demands(l.Context())
	l.Check(err)
	return all
}

func TestDemandsAreFollowed(t *testing.T) {
	l, _, n, b := given(t)
	s, updates := l.Store(), make(chan kv.Update[record.Demand], 10)
	l.Beside(func(ctx context.Context) {
		if err := s.Blocks.FollowDemands(ctx, func(u kv.Update[record.Demand]) { updates <- u }); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	<-updates
	d := l.Demand(n[1])
	if u := <-updates; len(u.Set) != 1 || u.Set[0].Node != "n2" || u.Set[0].Of(allocator.V4) != 1 || u.Set[0].Of(allocator.V6) != 0 ||
		u.Set[0].Revision != d.Revision {
		t.Errorf("the demand is followed as %+v", u)
	}
	_, err := block.Transfer(t.Context(), n[0].Session, b, lab.Prefix("10.42.16.8/32"), d)
	l.Check(err)
	if u := <-updates; len(u.Gone) != 1 || u.Gone[0].Node != "n2" || u.Gone[0].Pool != "default" {
		t.Errorf("the transfer is followed as %+v", u)
	}
}
