package kv_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/session"
)

func TestWhileOneMemberOfEtcdHangsTheOthersAnswer(t *testing.T) {
	l := lab.New(t)
	config := l.Apply(l.Store(), lab.Smallest())
	s := l.Hanging()
	// Each call has less time than one that hangs may take, and there are more of them than members.
	for what, call := range map[string]func(ctx context.Context) error{
		"a read":                   func(ctx context.Context) error { _, err := s.Config.Read(ctx); return err },
		"a list":                   func(ctx context.Context) error { _, err := s.Blocks.List(ctx); return err },
		"the check of the release": func(ctx context.Context) error { _, err := s.KV.CheckRelease(ctx); return err },
		"a meeting": func(ctx context.Context) error {
			_, err := s.Sessions.Handshake(ctx, "n1", lab.Node("n1").Machine, session.Past{})
			return err
		},
		"a join and a claim": func(ctx context.Context) error {
			x, err := s.Join(ctx, lab.Node("n1"))
			if err == nil {
				_, err = block.Claim(ctx, x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.64.0/26"))
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
	answer, err := kv.Retry(t.Context(), new(kv.Client), kv.CallTime, func(context.Context) (string, error) {
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
		_, err := kv.Retry(t.Context(), s, kv.CallTime, func(ctx context.Context) (any, error) {
			if n++; n == 1 {
				return nil, task.Pause(ctx, kv.CallTime)
			}
			return nil, task.Pause(ctx, c.second)
		})
		if got := s.FirstTry(); got != c.want || err != nil {
			t.Errorf("%s: the next call is first tried for %s, want %s: %v", what, got, c.want, err)
		}
	}
}
