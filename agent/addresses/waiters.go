package addresses

import (
	"slices"
	"time"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/task"
)

const (
	waitTime = 10 * time.Second // bounds an ADD's wait for an address of a pool that has none left for this node
	lookTime = time.Second      // how long it waits for a signal before it tries again
)

// waiters are the ADDs that wait for an address: one queue, in order of arrival, for each pool and family. Only the first of a
// queue allocates, so that none starves.
type waiters struct {
	mu     lockorder.Subject
	queues map[SpaceKey][]task.Signal
	Signal task.Signal // what this node demands may have changed
}

// Join appends a waiter. Its signal is raised when it is the first and an address may be free.
func (w *waiters) Join(k SpaceKey) task.Signal {
	me := task.NewSignal()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queues == nil {
		w.queues = map[SpaceKey][]task.Signal{}
	}
	w.queues[k] = append(w.queues[k], me)
	w.Signal.Raise()
	return me
}

func (w *waiters) Leave(k SpaceKey, me task.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queues[k] = slices.DeleteFunc(w.queues[k], func(each task.Signal) bool { return each == me })
	if len(w.queues[k]) > 0 {
		w.queues[k][0].Raise()
	} else {
		delete(w.queues, k)
	}
	w.Signal.Raise()
}

func (w *waiters) first(k SpaceKey, me task.Signal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queues[k][0] == me
}

// wake wakes the first of a queue.
func (w *waiters) wake(k SpaceKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queues[k]) > 0 {
		w.queues[k][0].Raise()
	}
}

// wakeAll wakes the first of each queue.
func (w *waiters) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, queue := range w.queues {
		queue[0].Raise()
	}
}

func (w *waiters) Len(k SpaceKey) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queues[k])
}

// Count is how many wait in all.
func (w *waiters) Count() (all int) {
	for _, n := range w.Counts() {
		all += n
	}
	return all
}

// Counts are how many wait, by pool and family.
func (w *waiters) Counts() map[SpaceKey]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[SpaceKey]int, len(w.queues))
	for k, queue := range w.queues {
		all[k] = len(queue)
	}
	return all
}
