package task

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneHasTheLockAloneOrSeveralShareIt(t *testing.T) {
	l := NewLock()
	var alone, shared atomic.Int32
	var all []func(context.Context) error
	for range 4 {
		all = append(all, func(ctx context.Context) error {
			for range 500 {
				if err := l.Lock(ctx); err != nil {
					return err
				}
				if alone.Add(1) != 1 || shared.Load() != 0 {
					t.Error("two have the lock, and one of them alone")
				}
				alone.Add(-1)
				l.Unlock()
			}
			return nil
		}, func(ctx context.Context) error {
			for range 500 {
				if err := l.RLock(ctx); err != nil {
					return err
				}
				if shared.Add(1); alone.Load() != 0 {
					t.Error("somebody shares the lock that another has alone")
				}
				shared.Add(-1)
				l.RUnlock()
			}
			return nil
		})
	}
	if err := All(t.Context(), all...); err != nil {
		t.Error(err)
	}
}

func TestNobodyWaitsForALockBeyondTheContext(t *testing.T) {
	l := NewLock()
	if err := l.RLock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !l.TryRLock() {
		t.Fatal("the lock cannot be shared")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Lock(ctx) }()
	for l.TryRLock() { // until the other waits
		l.RUnlock()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("who waited for the lock got %v", err)
	}
	l.RUnlock()
	l.RUnlock()
	if err := l.Lock(t.Context()); err != nil {
		t.Errorf("nobody has the lock: %v", err)
	}
}

func TestVirtualTimeGoesOnWhileSomebodyWaitsForALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLock()
		if err := l.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make(chan error)
		go func() { got <- l.RLock(t.Context()) }()
		synctest.Wait()
		time.Sleep(time.Hour) // the holder's call
		l.Unlock()
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}
