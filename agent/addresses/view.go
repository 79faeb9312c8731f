package addresses

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
func (a *Manager) followBlocks(ctx context.Context) error {
	return a.Store.Blocks.Follow(ctx, func(u kv.Update[record.Block]) {
		node.Report(a.Node, u)
		news, keys, mended := a.Blocks.Take(u)
		gone := slices.Clone(keys)
		a.tellMisfits(u.Set)
		changes := map[ipam.BlockID]change{}
		for _, c := range news {
			changes[c.Now.ID()] = c
			keys = append(keys, c.Now.ID())
		}
		if broken.Settling {
			return // the watch would settle in its stead
		}
		var gained []ipam.BlockID
		a.Gate.Shared(func() { gained = a.Reconcile(keys...) })
		a.gainedAgain(gained)
		a.assertGone(gone)
		a.publishMended(mended)
		for _, k := range gained {
			if from := changes[k].giver(a.Name); from != "" {
				a.Metrics.Gift("received")
				a.Log.Info("received addresses", zap.String("pool", k.Pool), zap.Stringer("block", k.Prefix), zap.String("from", from))
			}
		}
		a.Waiters.wakeAll() // a block may be free
	})
}

// gainedAgain brings back to etcd's knowledge what is held of blocks that have come in: while a block's record could not be
// read, nothing of it was published, and who was found cut in it stayed so.
func (a *Manager) gainedAgain(gained []ipam.BlockID) {
	for _, k := range gained {
		for _, e := range a.Journal.Within(k.Pool, k.Prefix) {
			if e.Class == allocator.Stateless {
				a.backlog.Add(e.Pool, e.Addresses)
			}
		}
		if a.isolator.Awaits(func(at ipam.Address) bool { return at.Pool == k.Pool && k.Prefix.Contains(at.Addr) }) {
			a.Reassert.Raise()
		}
	}
}
