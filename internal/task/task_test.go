package task

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestASignalIsSeenOnceHoweverOftenItWasRaised(t *testing.T) {
	s := NewSignal()
	s.Raise()
	s.Raise()
	<-s
	select {
	case <-s:
		t.Error("it is seen twice")
	default:
	}
	s.Raise()
	s.Lower()
	s.Lower()
	select {
	case <-s:
		t.Error("it was lowered, and is seen")
	default:
	}
}

func TestAPauseEndsWithItsTimeOrItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := Pause(ctx, time.Millisecond); err != nil {
		t.Errorf("a pause that nobody has ended returns %v", err)
	}
	cancel()
	if err := Pause(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a pause whose context has ended returns %v", err)
	}
}

func TestAJobIsDoneAtEachIntervalUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := 0
	if err := Every(ctx, time.Millisecond, func() {
		if done++; done == 3 {
			cancel()
		}
	}); err != nil || done != 3 {
		t.Errorf("it was done %d times, and ended with %v", done, err)
	}
}
