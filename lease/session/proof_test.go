package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// arming is a prover of which the first proof cannot be armed.
type arming struct {
	armed  int
	proven func(armed int)
}

func (a *arming) Arm() error {
	if a.armed++; a.armed == 1 {
		return errors.New("the kernel refuses")
	}
	return nil
}

func (a *arming) Proven(time.Duration) { a.proven(a.armed) }

func TestAProofThatCannotBeArmedForIsLeftForLater(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.JoinBriefly(s, "n1")
	ctx, cancel := context.WithCancel(t.Context())
	err := x.Keep(ctx, &arming{proven: func(armed int) {
		if armed != 2 {
			t.Errorf("it was armed %d times before the first proof, want 2", armed)
		}
		cancel()
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestAProofTellsWhetherTheStatusIsAsTheSessionWroteIt(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	x := l.Join(s, "n1")
	x.WroteStatus(7)
	if got := x.StatusSeen(); got != 7 {
		t.Errorf("written was revision 7, and known is %d", got)
	}
	at := l.Put(s.KV.Keys.Status("n1"), kv.Encode(record.Status{}))
	ctx, cancel := context.WithCancel(t.Context())
	_ = x.Keep(ctx, lab.Told(func(time.Duration) { cancel() }))
	if got := x.StatusSeen(); got != at {
		t.Errorf("the proof has seen the status at %d, want %d", got, at)
	}
}

func TestASessionIsOverByFourErrorsAlone(t *testing.T) {
	for err, want := range map[error]bool{
		session.ErrLost: true, session.ErrReplaced: true, session.ErrClusterChanged: true, kv.ErrStoreReset: true,
		session.ErrRecovering: false, context.DeadlineExceeded: false, errors.New("other"): false,
	} {
		if got := session.Over(fmt.Errorf("claim: %w", err)); got != want {
			t.Errorf("%v ends it: %t, want %t", err, got, want)
		}
	}
	if session.Over(nil) {
		t.Error("no error ends it")
	}
}
