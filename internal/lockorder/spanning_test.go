package lockorder

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWhoWaitsForTheGateOrTheHostsOrderStopsNoVirtualTime has the holder of each wait for time to pass, as a call to the kernel or
// to etcd does, while others wait for it.
func TestWhoWaitsForTheGateOrTheHostsOrderStopsNoVirtualTime(t *testing.T) {
	type rw interface {
		sync.Locker
		RLock()
		RUnlock()
	}
	for what, l := range map[string]func() rw{"gate": func() rw { return new(Gate) }, "host": func() rw { return new(Host) }} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := l()
				began := time.Now()
				l.Lock()
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() { l.RLock(); time.Sleep(time.Hour); l.RUnlock() })
				}
				all.Go(func() { l.Lock(); time.Sleep(time.Hour); l.Unlock() })
				time.Sleep(time.Hour)
				l.Unlock()
				all.Wait()
				if took := time.Since(began); took < 3*time.Hour || took > 4*time.Hour {
					t.Errorf("it took %s: want an hour for each who has it alone, and as much for those who share it", took)
				}
			})
		})
	}
}
