package config_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAClusterThatNobodyHasConfiguredHasTheDefaults(t *testing.T) {
	l := lab.New(t)
	c, err := l.Store().Config.Read(t.Context())
	l.Check(err)
	if c.Revision != 0 || c.Changes != 0 || len(c.Pools) != 0 || c.Settings.Session != record.DefaultSettings().Session {
		t.Errorf("the configuration is %+v", c)
	}
}

func TestFollowersSeeEveryNewerConfiguration(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var revisions []int64
	ended := make(chan error, 1)
	go func() {
		ended <- s.Config.Follow(ctx, func(c *config.Config) {
			mu.Lock()
			defer mu.Unlock()
			revisions = append(revisions, c.Revision)
		}, func(error) {})
	}()
	last := func() int64 {
		mu.Lock()
		defer mu.Unlock()
		if len(revisions) == 0 {
			return -1
		}
		return revisions[len(revisions)-1]
	}
	l.Until("the present configuration", func() bool { return last() == 0 })
	after := l.Apply(l.Store(), lab.Smallest())
	l.Until("the first pool", func() bool { return last() == after.Revision })
	after = l.Apply(l.Store(), lab.Small())
	l.Until("the second pool", func() bool { return last() == after.Revision })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
