package member

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/findings"
	"github.com/berth-ipam/berth/internal/task"
)

// sleepEvery is how often the agent checks whether the machine has slept.
const sleepEvery = 200 * time.Millisecond

// errUntrusted says that the kernel's timers or table could not be relied on for a while: before anything passes again, this node
// must prove its right and settle.
var errUntrusted = errors.New("agent: the machine slept or was cloned, or its table was changed by another")

// watchSleep detects that the machine has slept: its kernel's timers stood still meanwhile, and other nodes' clocks did not.
func (k *Keeper) watchSleep(ctx context.Context) error {
	slept := k.Clock.Asleep()
	return task.Every(ctx, sleepEvery, func() {
		if now := k.Clock.Asleep(); now > slept+sleepEvery/2 {
			k.Log.Warn("this machine has slept", zap.Duration("for", now-slept))
			slept = now
			k.Distrust()
		}
	})
}

// Distrust closes the fence and has this node join again. Without a fence it does nothing: nothing relies on the kernel's timers
// then, and rights count the time asleep.
func (k *Keeper) Distrust() {
	if k.closeFence() {
		k.Untrusted.Raise()
	}
}

// Cloned voids all rights until the next proof, with or without a fence: the clocks of a machine that was restored from a
// snapshot do not tell how long it was away.
func (k *Keeper) Cloned() {
	k.Log.Warn("this virtual machine was cloned, or restored from a snapshot")
	k.Rights.Limit(0, 0)
	k.closeFence()
	k.Untrusted.Raise()
}

// closeFence closes both classes, and reports whether there is a fence, or may be.
func (k *Keeper) closeFence() bool {
	if fenced, err := k.Kernel().Fenced(); err == nil && !fenced {
		return false
	}
	if err := k.Kernel().CloseAll(); err != nil {
		k.Log.Error("cannot close the fence", zap.Error(err))
	}
	return true
}

// RestoreTable restores the nftables table after another program has changed it. In strict mode it stays closed until the next
// proof.
func (k *Keeper) RestoreTable() {
	const kind, table = "table-changed", "berth"
	const text = "another program has changed or flushed one of the nftables tables berth (families bridge and inet), which let " +
		"containers' traffic pass"
	k.Findings.Set(kind, table, text, findings.ByItself)
	if err := k.Kernel().EnsureTable(); err != nil {
		k.Findings.Set(kind, table, text+", and it cannot be put back: "+err.Error(),
			"see the cause; the agent tries again with the next change, and with berthctl doctor --fix")
	} else {
		k.Findings.Clear(kind, table)
	}
	k.Distrust()
}
