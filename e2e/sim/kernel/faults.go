package kernel

import (
	"time"

	"github.com/berth-ipam/berth/netops"
)

// Faults are decided by the caller. A nil function does nothing. None of them is called with a lock held, and an operation is named
// by its method: "Attach", "Join", …
type Faults struct {
	// Before and After are called around each operation. They may wait, and may end the process there: runtime.Goexit. Before is
	// called within one, too, where its process can end halfway: "Attach, made", when both ends are there and have nothing yet.
	Before, After func(op string)
	// Fail says whether an operation fails, and whether it takes effect nevertheless.
	Fail func(op string) (err error, done bool)
	// News says when an event comes, counted from now: an empty list is never, two times are twice.
	News func(netops.Event) []time.Duration
}

// SetFaults replaces the faults of a host.
func (h *Host) SetFaults(f Faults) {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	h.faults = f
}

func (h *Host) present() Faults {
	h.lan.mu.Lock()
	defer h.lan.mu.Unlock()
	return h.faults
}

// point is where a process may end within an operation. Others go on meanwhile.
func (k *Kernel) point(op string) {
	before := k.host.faults.Before
	if before == nil {
		return
	}
	k.lan.mu.Unlock()
	defer k.lan.mu.Lock()
	before(op)
}

// Tell tells all processes of the host of an event, as its kernel would: netops.Cloned, netops.Overrun, and others that came of
// nothing.
func (h *Host) Tell(e netops.Event) { h.lan.change(func() { h.tell(e, nil) }) }

// tell has an event come to all open kernels but one, which has caused it.
func (h *Host) tell(e netops.Event, but *Kernel) {
	var to []*Kernel
	for _, k := range h.kernels {
		if k != but {
			to = append(to, k)
		}
	}
	if len(to) == 0 {
		return
	}
	h.lan.after = append(h.lan.after, func() {
		times := []time.Duration{0}
		if news := h.present().News; news != nil {
			times = news(e)
		}
		h.lan.mu.Lock()
		sleeps := max(time.Until(h.asleep), 0)
		h.lan.mu.Unlock()
		for _, d := range times {
			for _, k := range to {
				if d+sleeps <= 0 {
					k.queue(e)
				} else {
					time.AfterFunc(d+sleeps, func() { k.queue(e) })
				}
			}
		}
	})
}
