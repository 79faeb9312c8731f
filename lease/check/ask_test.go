package check_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/check"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// takesPart has a node answer checks, until the test ends. Its container reaches those of all others.
func takesPart(l *lab.Lab, name string) {
	l.Helper()
	s := l.Store()
	x := l.Join(s, name)
	own := netip.AddrFrom4([4]byte{10, 42, 0, name[len(name)-1]})
	l.Beside(func(ctx context.Context) {
		_ = check.Follow(ctx, s.KV, func(q *record.Check) {
			if q == nil {
				return
			}
			a := record.CheckAnswer{Probes: []record.CheckProbe{{Pool: "p", Mode: "routed", Addresses: []netip.Addr{own}, MTU: 1500}}}
			for _, peer := range q.Peers {
				a.Asked = true
				if peer.Node != name {
					a.Results = append(a.Results, record.CheckResult{Pool: "p", Node: peer.Node, Steps: []record.CheckStep{
						{Step: record.StepWhole, To: peer.Probes[0].Addresses[0], State: record.CheckOK}}})
				}
			}
			if err := check.Answer(ctx, x.Session, q, a); err != nil && !errors.Is(err, check.ErrWithdrawn) && ctx.Err() == nil {
				l.Error(err)
			}
		})
	})
}

func TestACheckGathersWhatAllNodesSayAndLeavesNothing(t *testing.T) {
	l := lab.New(t)
	for _, name := range []string{"n1", "n2", "n3"} {
		takesPart(l, name)
	}
	s := l.Store()
	r, err := check.Ask(t.Context(), s.KV, check.Options{Who: "test", Pools: []string{"p"}, Patience: 5 * time.Minute})
	l.Check(err)
	if len(r.Failures) > 0 || r.Ways != 9 || len(r.Matrices) != 1 || len(r.Matrices[0].Rows) != 3 {
		t.Errorf("%+v", r)
	}
	left, err := s.KV.Scan(t.Context(), s.KV.Keys.Check())
	l.Check(err)
	for _, each := range left.Kvs {
		t.Errorf("%s is left", each.Key)
	}
}

// A node whose agent is of a release without checks is not waited for longer than the making may take, and is named.
func TestANodeThatDoesNotAnswerIsNamedWithItsVersion(t *testing.T) {
	l := lab.New(t)
	takesPart(l, "n1")
	former := lab.Node("n2")
	former.Version = "0.1"
	_, err := l.Store().Join(t.Context(), former)
	l.Check(err)
	r, err := check.Ask(t.Context(), l.Store().KV, check.Options{Pools: []string{"p"}, Patience: 20 * time.Second})
	l.Check(err)
	if len(r.Failures) != 1 || r.Failures[0].From != "n2" || !strings.Contains(r.Failures[0].Advice, "version 0.1") {
		t.Errorf("%+v", r.Failures)
	}
	if state := r.Matrices[0].Rows[0].Cells[1].State; state != check.StateUnknown {
		t.Errorf("whether n1 reaches n2: %s", state)
	}
}

func TestThereIsOneCheckAtATimeAndTheSecondIsToldOfTheFirst(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	l.Join(s, "silent")
	var first error
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(done)
		_, first = check.Ask(ctx, l.Store().KV, check.Options{Who: "the first", Pools: []string{"p"}, Patience: time.Hour})
	}()
	l.Until("the first check is there", func() bool {
		found, err := s.KV.Get(t.Context(), s.KV.Keys.Check())
		l.Check(err)
		return len(found.Kvs) > 0
	})
	_, err := check.Ask(t.Context(), s.KV, check.Options{Who: "the second", Pools: []string{"p"}, Patience: time.Second})
	if under, ok := errors.AsType[*check.UnderWayError](err); !ok || under.Check.Who != "the first" {
		t.Errorf("the second got %v", err)
	}
	cancel()
	<-done
	if !errors.Is(first, context.Canceled) {
		t.Errorf("the first got %v", first)
	}
	if _, err = check.Ask(t.Context(), s.KV, check.Options{Who: "the third", Pools: []string{"p"}, Patience: time.Second}); err != nil {
		t.Errorf("the first has ended, and the third got %v", err)
	}
}

// Somebody has written a check by hand: it has no lease, and would be in the way for ever.
func TestACheckWithoutALeaseIsNotInTheWay(t *testing.T) {
	l := lab.New(t)
	takesPart(l, "n1")
	s := l.Store()
	l.Put(s.KV.Keys.Check(), `{"id":"x","who":"a hand"}`)
	if _, err := check.Ask(t.Context(), s.KV, check.Options{Pools: []string{"p"}, Patience: 5 * time.Minute}); err != nil {
		t.Error(err)
	}
}

func TestOnlyLiveNodesTakePart(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	if _, err := check.Ask(t.Context(), s.KV, check.Options{Pools: []string{"p"}, Patience: time.Second}); err == nil ||
		!lab.Contains(err, "no node is live") {
		t.Errorf("without a node: %v", err)
	}
	l.Join(s, "n1")
	_, err := check.Ask(t.Context(), s.KV, check.Options{From: []string{"n9"}, Pools: []string{"p"}, Patience: time.Second})
	if absent, ok := errors.AsType[*check.NotLiveError](err); !ok || absent.Node != "n9" || !slices.Equal(absent.Live, []string{"n1"}) {
		t.Errorf("from a node that is not there: %v", err)
	}
}

func TestAnAnswerGoesWithItsCheckAndComesOnlyFromThePresentSession(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	former := l.Join(s, "n1")
	present := l.Join(s, "n1")
	id, err := s.KV.Grant(t.Context(), time.Hour)
	l.Check(err)
	q := &record.Check{ID: "x", Lease: int64(id)}
	if err := check.Answer(t.Context(), former.Session, q, record.CheckAnswer{}); err == nil {
		t.Error("a former session has answered")
	}
	l.Check(check.Answer(t.Context(), present.Session, q, record.CheckAnswer{}))
	s.KV.Revoke(id)
	if err := check.Answer(t.Context(), present.Session, q, record.CheckAnswer{}); !errors.Is(err, check.ErrWithdrawn) {
		t.Errorf("the check is over, and the answer: %v", err)
	}
	left, err := kv.One(t.Context(), s.KV, record.CheckAnswerCodec, s.KV.Keys.CheckAnswer("n1"))
	if left != nil || err != nil {
		t.Errorf("left is %v, %v", left, err)
	}
}
