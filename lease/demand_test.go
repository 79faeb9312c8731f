package lease

import (
	"context"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func (l *lab) demand(x *joined) record.Demand {
	l.Helper()
	d, err := x.Demand(l.Context(), record.Demand{Pool: "default", V4: 1})
	l.check(err)
	return d
}

func (l *lab) demands() []record.Demand {
	l.Helper()
	all, err := l.store().Blocks.Demands(l.Context())
	l.check(err)
	return all
}

func TestDemandsAreFollowed(t *testing.T) {
	l, _, n, b := given(t)
	s, updates := l.store(), make(chan kv.Update[record.Demand], 10)
	l.beside(func(ctx context.Context) {
		_ = s.Blocks.FollowDemands(ctx, func(u kv.Update[record.Demand]) { updates <- u })
	})
	<-updates
	d := l.demand(n[1])
	if u := <-updates; len(u.Set) != 1 || u.Set[0].Node != "n2" || u.Set[0].Of(allocator.V4) != 1 || u.Set[0].Of(allocator.V6) != 0 ||
		u.Set[0].Revision != d.Revision {
		t.Errorf("the demand is followed as %+v", u)
	}
	_, err := n[0].Give(t.Context(), b, prefix("10.42.16.8/32"), d)
	l.check(err)
	if u := <-updates; len(u.Gone) != 1 || u.Gone[0].Node != "n2" || u.Gone[0].Pool != "default" {
		t.Errorf("the gift is followed as %+v", u)
	}
}
