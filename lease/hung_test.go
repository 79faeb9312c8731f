package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// hanging is a store with three ways to etcd, as to three members, of which one hangs.
func (l *lab) hanging() *Store {
	l.Helper()
	wires := []*wire{l.wire(), l.wire(), l.wire()}
	s := l.store(func(o *kv.Options) { o.Endpoints = []string{wires[0].endpoint, wires[1].endpoint, wires[2].endpoint} })
	l.until("each member is connected", func() bool {
		_, err := s.Config.Read(l.Context())
		l.check(err)
		connected := 0
		for _, w := range wires {
			w.mu.Lock()
			connected += min(1, len(w.conns))
			w.mu.Unlock()
		}
		return connected == len(wires)
	})
	wires[1].hang()
	return s
}

func TestWhileOneMemberOfEtcdHangsTheOthersAnswer(t *testing.T) {
	l := newLab(t)
	config := l.apply(l.store(), smallest())
	s := l.hanging()
	// Each call has less time than one that hangs may take, and there are more of them than members.
	for what, call := range map[string]func(ctx context.Context) error{
		"a read":                   func(ctx context.Context) error { _, err := s.Config.Read(ctx); return err },
		"a list":                   func(ctx context.Context) error { _, err := s.Blocks.List(ctx); return err },
		"the check of the release": func(ctx context.Context) error { _, err := s.KV.CheckRelease(ctx); return err },
		"a meeting": func(ctx context.Context) error {
			_, err := s.Sessions.Handshake(ctx, "n1", node("n1").Machine, session.Past{})
			return err
		},
		"a join and a claim": func(ctx context.Context) error {
			x, err := s.Join(ctx, node("n1"))
			if err == nil {
				_, err = x.ClaimBlock(ctx, "default", config.PoolRevisions["default"], prefix("10.42.64.0/26"))
			}
			return err
		},
	} {
		for range 6 {
			ctx, cancel := context.WithTimeout(t.Context(), kv.CallTime-kv.TryTime)
			err := call(ctx)
			if err == nil {
				err = ctx.Err() // it has waited for the one that hangs
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
	}
}

func TestACallThatAMemberGivesUpIsSentToTheNext(t *testing.T) {
	tries := 0
	answer, err := kv.Insist(t.Context(), new(kv.Client), kv.CallTime, func(context.Context) (string, error) {
		if tries++; tries == 1 {
			return "", status.Error(codes.DeadlineExceeded, "stream terminated by RST_STREAM with error code: CANCEL")
		}
		return "answer", nil
	})
	if answer != "answer" || err != nil {
		t.Errorf("after %d tries: %q, %v", tries, answer, err)
	}
}

func TestCallsAreSentMoreOftenOnlyWhileOthersAnswerAtOnce(t *testing.T) {
	for what, c := range map[string]struct {
		second time.Duration
		want   time.Duration
	}{
		"one hangs":    {0, kv.HungTry},
		"all are slow": {kv.HungTry, kv.TryTime},
	} {
		s, n := new(kv.Client), 0
		_, err := kv.Insist(t.Context(), s, kv.CallTime, func(ctx context.Context) (any, error) {
			if n++; n == 1 {
				return nil, kv.Pause(ctx, kv.CallTime)
			}
			return nil, kv.Pause(ctx, c.second)
		})
		if got := s.FirstTry(); got != c.want || err != nil {
			t.Errorf("%s: the next call is first tried for %s, want %s: %v", what, got, c.want, err)
		}
	}
}

func TestASessionIsNotLostWhileOneMemberOfEtcdHangs(t *testing.T) {
	l := newLab(t)
	s := l.hanging()
	me := node("n1")
	me.Session = allocator.Duration(record.MinSession)
	x, err := s.Join(t.Context(), me)
	l.check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*record.MinSession)
	defer cancel()
	if err := x.Keep(ctx, told(func(time.Duration) {})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the session has ended: %v", err)
	}
}
