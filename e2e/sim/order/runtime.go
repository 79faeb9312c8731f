//go:build ordered

package order

import (
	"runtime"
	"runtime/debug"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname
)

// Exact says whether the runtime is ordered, so that runs of one seed are to be the same to the last event.
const Exact = true

// by is in the overlay of the runtime.
func by(seed uint64)

// By takes the order from a seed. The pools of package sync are emptied, so that nothing of a former run is left in them.
func By(seed uint64) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	runtime.GC()
	runtime.GC()
	by(seed | 1)
}

// collectEvery is the virtual time between two collections.
const collectEvery = 20*time.Second + 13

// Collect collects garbage while every other goroutine of the bubble waits, until going says no.
func Collect(going func() bool) {
	for going() {
		synctest.Wait()
		runtime.GC()
		for range 20 {
			if going() {
				time.Sleep(collectEvery / 20)
			}
		}
	}
}
