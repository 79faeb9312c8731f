package agent

import (
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
)

func TestTheFirstWhoWaitsIsWokenAndTheNextOneWhenItHasLeft(t *testing.T) {
	k, w := spaceKey{"tiny", allocator.V4}, waiters{signal: task.NewSignal()}
	woken := func(s task.Signal) bool {
		select {
		case <-s:
			return true
		default:
			return false
		}
	}
	first, second := w.join(k), w.join(k)
	woken(first)
	woken(second)
	if w.wake(k); !woken(first) || woken(second) || !w.first(k, first) || w.first(k, second) {
		t.Error("not the first one, and it alone, was woken")
	}
	if w.leave(k, first); !woken(second) || !w.first(k, second) {
		t.Error("the next one was not woken")
	}
	if w.leave(k, second); w.count() != 0 || len(w.queues) != 0 {
		t.Errorf("all have left, and %v is there", w.queues)
	}
}
