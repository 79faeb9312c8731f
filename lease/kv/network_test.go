package kv_test

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestEtcdIsReachedByTheNetworkThatIsGiven(t *testing.T) {
	l := lab.New(t)
	way := kv.NewEndpoints(l.Options)
	s := l.Store(func(o *kv.Options) { o.Endpoints, o.Network = []string{"http://127.0.0.1:1"}, way })
	l.Check(s.KV.Reach(t.Context()))
	x := l.Join(s, "n1")
	renewal := kv.NewRenewal(s.KV, x.Lease())
	defer renewal.Close()
	l.Check(renewal.Once(t.Context()))
	if _, err := s.KV.CheckRelease(t.Context()); !kv.Unavailable(err) {
		t.Errorf("a release is asked of the options' endpoints, where nobody is: %v", err)
	}
}

func TestARecordHasTheTimeOfTheGivenClock(t *testing.T) {
	l := lab.New(t)
	then := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	s := l.Store(func(o *kv.Options) { o.Clock.Wall = func() time.Time { return then } })
	l.Apply(s, lab.Small())
	history, err := s.Config.History(t.Context())
	l.Check(err)
	if len(history) != 1 || !history[0].When.Equal(then) {
		t.Errorf("the history has %v: want one change of %s", history, then)
	}
}
