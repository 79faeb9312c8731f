package config_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestEveryChangeIsOneRevisionAndOneEntryInTheHistory(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	first := l.Apply(s, lab.Smallest())
	changed := lab.Smallest()
	changed.MTU = 1400
	second := l.Apply(s, changed)
	if second.Revision <= first.Revision || second.Changes != 2 || second.PoolRevisions["default"] != second.Revision {
		t.Errorf("first %+v, second %+v", first, second)
	}
	read, err := s.Config.Read(t.Context())
	l.Check(err)
	if len(config.Diff(read, second)) > 0 || read.Revision != second.Revision || read.PoolRevisions["default"] != second.Revision {
		t.Errorf("apply says %+v, etcd has %+v", second, read)
	}

	history, err := s.Config.History(t.Context())
	l.Check(err)
	if len(history) != 2 {
		t.Fatalf("the history has %d entries", len(history))
	}
	e := history[1]
	if e.Number != 2 || e.Revision != second.Revision || e.Who != "tester" || e.Message != "test" || time.Since(e.When) > time.Hour {
		t.Errorf("the entry is %+v", e)
	}
	if len(e.Changes) != 1 || e.Changes[0] != (record.Change{Object: "pool default", Field: "mtu", After: "1400"}) {
		t.Errorf("the changes are %v", e.Changes)
	}
	if e.Before.Pools[0].MTU != 0 || e.After.Pools[0].MTU != 1400 || e.Before.Settings != nil {
		t.Errorf("before %+v, after %+v", e.Before, e.After)
	}
	if history[0].Before.Pools != nil || len(history[0].Changes) == 0 {
		t.Errorf("the first entry is %+v", history[0])
	}
}

func TestApplyingWhatIsThereWritesNothing(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	after, err := s.Editor.Apply(t.Context(), base, base.Clone(), config.Note{})
	l.Check(err)
	history, err := s.Config.History(t.Context())
	l.Check(err)
	if after.Revision != base.Revision || len(history) != 1 {
		t.Errorf("revision %d became %d, with %d entries", base.Revision, after.Revision, len(history))
	}
}

func TestOfTwoChangesAtOnceOneIsToldTheWinner(t *testing.T) {
	l := lab.New(t)
	base := l.Apply(l.Store(), lab.Smallest())
	var wait sync.WaitGroup
	results := make(chan error, 2)
	for i := range 2 {
		s := l.Store()
		next := base.Clone()
		pool := next.Pools["default"]
		pool.MTU = 1400 + i
		next.Pools["default"] = pool
		wait.Go(func() {
			_, err := s.Editor.Apply(t.Context(), base, next, config.Note{Who: fmt.Sprint("writer ", i)})
			results <- err
		})
	}
	wait.Wait()
	conflicts := 0
	for range 2 {
		err := <-results
		conflict, ok := errors.AsType[*config.ConflictError](err)
		if err != nil && !ok {
			t.Fatal(err)
		}
		if ok {
			conflicts++
			if w := conflict.Winner; w.Number != 2 || !strings.HasPrefix(w.Who, "writer ") || w.Revision <= base.Revision {
				t.Errorf("the winner is %+v", w)
			}
		}
	}
	if conflicts != 1 {
		t.Errorf("%d of two were refused", conflicts)
	}
	if history, _ := l.Store().Config.History(t.Context()); len(history) != 2 {
		t.Errorf("the history has %d entries", len(history))
	}
}

func TestAPoolsCIDRAndBlockSizeNeverChange(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	for want, change := range map[string]func(*allocator.Pool){
		"10.42.0.0/17": func(p *allocator.Pool) { p.CIDRs = []netip.Prefix{lab.Prefix("10.42.0.0/17")} },
		"blockSize":    func(p *allocator.Pool) { p.BlockSize.V4 = 27 },
		"mtu":          func(p *allocator.Pool) { p.MTU = 3 },
		"default":      func(p *allocator.Pool) { p.Name = "other" },
	} {
		next := base.Clone()
		pool := next.Pools["default"]
		change(&pool)
		next.Pools["default"] = pool
		if _, err := s.Editor.Apply(t.Context(), base, next, config.Note{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	next := base.Clone()
	delete(next.Pools, "default")
	if _, err := s.Editor.Apply(t.Context(), base, next, config.Note{}); err == nil {
		t.Error("a change has removed a pool")
	}
}

func TestAChangeWhoseAnswerWasLostIsNotMadeTwice(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	next := base.Clone()
	next.Settings.Session = allocator.Duration(5 * time.Second)
	c := config.ChangeOf(base, next, config.Note{Who: "tester"}, config.Guard{})
	when := time.Now().UTC()
	first, _, err := s.Editor.CommitOnce(t.Context(), c, when)
	l.Check(err)
	again, _, err := s.Editor.CommitOnce(t.Context(), c, when)
	l.Check(err)
	if again.Revision != first.Revision || again.Changes != 2 || len(config.Diff(first, again)) > 0 {
		t.Errorf("first %+v, again %+v", first, again)
	}
	_, _, err = s.Editor.CommitOnce(t.Context(), c, when.Add(1))
	if conflict, ok := errors.AsType[*config.ConflictError](err); !ok || conflict.Winner.Revision != first.Revision {
		t.Errorf("another one of the same words: %v", err)
	}
}

func TestABaseThatNeverWasIsRefused(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	base := l.Apply(s, lab.Smallest())
	forged := base.Clone()
	forged.Changes += 7
	forged.Revision += 7
	next := forged.Clone()
	next.Settings.Session = allocator.Duration(5 * time.Second)
	if _, err := s.Editor.Apply(t.Context(), forged, next, config.Note{}); err == nil {
		t.Error("it was applied")
	}
}
