package kv_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// Others' calls are under way all the time: whose turn it is says nothing of whom the former try went to.
func TestAMemberThatHasLeftACallUnansweredGetsNoMoreWhileTheOthersAnswer(t *testing.T) {
	l := lab.New(t)
	var unanswered atomic.Int64
	s := l.Hanging(func(o *kv.Options) {
		o.Observe = func(_ string, _ time.Duration, _ bool, err error) {
			if err != nil {
				unanswered.Add(1)
			}
		}
	})
	const callers, calls = 3, 30
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				read := kv.Transact("read")
				read.Else(s.KV.Keys.Revision())
				if err := s.KV.RetryTxn(t.Context(), kv.CallTime, read); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := unanswered.Load(); n == 0 || n > 3*callers { // a third of all, where it gets its turn
		t.Errorf("%d of %d calls were left unanswered", n, callers*calls)
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

// A renewal is a message on a stream, and not a call.
func TestAMemberThatHasLeftARenewalUnansweredGetsNoCalls(t *testing.T) {
	l := lab.New(t)
	grant, err := l.Raw().Grant(t.Context(), 60)
	l.Check(err)
	const calls, machines = 9, 3
	for range machines { // a member that answers may take too long on a busy one
		if unanswered := callsAfterARenewal(l, grant.ID, calls); unanswered == 0 {
			return
		}
	}
	t.Errorf("of %d calls some were left unanswered, each time", calls)
}

// callsAfterARenewal makes calls after a renewal that the hanging member of three has left unanswered, and counts those that are, too.
func callsAfterARenewal(l *lab.Lab, lease clientv3.LeaseID, calls int) (unanswered int) {
	l.Helper()
	s := l.Hanging(func(o *kv.Options) {
		o.Observe = func(_ string, _ time.Duration, _ bool, err error) {
			if err != nil {
				unanswered++
			}
		}
	})
	renewal := kv.NewRenewal(s.KV, lease)
	defer renewal.Close()
	l.Until("a renewal is not answered", func() bool {
		ctx, cancel := context.WithTimeout(l.Context(), kv.TryTime/2)
		defer cancel()
		defer renewal.Close() // the next one goes to another member
		return renewal.Once(ctx) != nil
	})
	unanswered = 0
	for range calls {
		read := kv.Transact("read")
		read.Else(s.KV.Keys.Revision())
		l.Check(s.KV.RetryTxn(l.Context(), kv.CallTime, read))
	}
	return unanswered
}
