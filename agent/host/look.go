package host

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/internal/task"
)

// maxPause is the longest time between two comparisons, while another program undoes every repair.
const maxPause = time.Minute

// A comparison lists the links of the kernel, so that it is done at most once a second; while another program undoes every
// repair, ever less often.
const (
	lookPause = time.Second
	lookEvery = time.Minute // without an event
)

// Changed has the host compared soon: something may have disappeared.
func (k *Keeper) Changed() { k.changed.Raise() }

// PathMayDiffer has what fits between nodes read soon: this node may have other addresses, or they may be on other links.
func (k *Keeper) PathMayDiffer() { k.routed.Raise() }

// Run compares the host at each event of the kernel, and once a minute.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	wait := lookPause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.routed:
			k.lookAtPathAlone()
			continue
		case <-k.changed:
		case <-tick.C:
		}
		if k.Look() {
			wait = min(2*wait, maxPause)
		} else {
			wait = lookPause
		}
		task.Pause(ctx, wait)
	}
}

func (k *Keeper) lookAtPathAlone() {
	k.looks.Lock()
	defer k.looks.Unlock()
	k.lookAtPath()
}

// Look compares the host with what this node's containers need, reports and repairs the differences, and reports whether there
// were any. What fails is tried again the next time.
func (k *Keeper) Look() (repaired bool) {
	k.looks.Lock()
	defer k.looks.Unlock()
	k.lookAtPath()
	repaired = k.compare()
	if k.compareRouted() {
		repaired = true
	}
	k.retire()
	return repaired
}
