package addresses

import (
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
)

func TestTheFirstWhoWaitsIsWokenAndTheNextOneWhenItHasLeft(t *testing.T) {
	k, w := SpaceKey{Pool: "tiny", Family: allocator.V4}, waiters{Signal: task.NewSignal()}
	woken := func(s task.Signal) bool {
		select {
		case <-s:
			return true
		default:
			return false
		}
	}
	first, second := w.Join(k), w.Join(k)
	woken(first)
	woken(second)
	if w.wake(k); !woken(first) || woken(second) || !w.first(k, first) || w.first(k, second) {
		t.Error("not the first one, and it alone, was woken")
	}
	if w.Leave(k, first); !woken(second) || !w.first(k, second) {
		t.Error("the next one was not woken")
	}
	if w.Leave(k, second); w.Count() != 0 || len(w.queues) != 0 {
		t.Errorf("all have left, and %v is there", w.queues)
	}
}
