package agent

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// followBlocks keeps the view of the cluster's blocks, and the allocator in agreement with it.
func (a *manager) followBlocks(ctx context.Context) error {
	return a.Store.Blocks.Follow(ctx, func(u kv.Update[record.Block]) {
		node.Report(a.Node, u)
		news, keys, mended := a.blocks.take(u)
		gone := slices.Clone(keys)
		a.tellMisfits(u.Set)
		changes := map[ipam.BlockID]change{}
		for _, c := range news {
			changes[keyOf(c.now)] = c
			keys = append(keys, keyOf(c.now))
		}
		if broken.Settling {
			return // the watch would settle in its stead
		}
		var gained []ipam.BlockID
		a.Gate.Shared(func() { gained = a.reconcile(keys...) })
		a.gainedAgain(gained)
		a.assertGone(gone)
		a.unhide(mended)
		for _, k := range gained {
			if from := changes[k].giver(a.Name); from != "" {
				a.Metrics.Gift("received")
				a.Log.Info("received addresses", zap.String("pool", k.Pool), zap.Stringer("block", k.Prefix), zap.String("from", from))
			}
		}
		a.waiters.wakeAll() // a block may be free
	})
}

// gainedAgain brings back to etcd's knowledge what is held of blocks that have come in: while a block's record could not be
// read, nothing of it was published, and who was found cut in it stayed so.
func (a *manager) gainedAgain(gained []ipam.BlockID) {
	for _, k := range gained {
		for _, e := range a.Journal.Within(k.Pool, k.Prefix) {
			if e.Class == allocator.Stateless {
				a.backlog.add(e.Pool, e.Addresses)
			}
		}
		if a.isolator.cutOff.any(func(at ipam.Address) bool { return at.Pool == k.Pool && k.Prefix.Contains(at.Addr) }) {
			a.Reassert.Raise()
		}
	}
}
