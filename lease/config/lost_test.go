package config_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestAfterLostAnswersTheHistoryHasEachChangeOnce(t *testing.T) {
	l := lab.New(t)
	l.Apply(l.Store(), lab.Smallest())
	const changes = 30
	l.Shaky(func(s *lab.Store) {
		for i := range changes {
			var base *config.Config
			if err := l.Insist(func(ctx context.Context) (err error) { base, err = s.Config.Read(ctx); return err }); err != nil {
				t.Fatal(err)
			}
			next := base.Clone()
			pool := next.Pools["default"]
			pool.MTU = 1300 + i
			next.Pools["default"] = pool
			var after *config.Config
			err := l.Insist(func(ctx context.Context) (err error) {
				after, err = s.Editor.Apply(ctx, base, next, config.Note{Who: fmt.Sprint("change ", i)})
				return err
			})
			// Who gave up and tries again with the same base may find that he has won himself.
			if conflict, ok := errors.AsType[*config.ConflictError](err); ok && conflict.Winner.Who == fmt.Sprint("change ", i) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if after.Changes != base.Changes+1 || after.Revision <= base.Revision || after.PoolRevisions["default"] != after.Revision {
				t.Fatalf("after change %d there is %+v", i, after)
			}
		}
	})
	history, err := l.Store().Config.History(t.Context())
	l.Check(err)
	if len(history) != changes+1 {
		t.Fatalf("%d changes have %d entries", changes, len(history))
	}
	for i, e := range history[1:] {
		if e.Who != fmt.Sprint("change ", i) || e.Number != int64(i+2) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
}
