package caretaker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
)

// freeEvery is how often former gateways are checked.
const freeEvery = 2 * time.Second

// freeFormer frees former gateways that every node has removed. One agent does it for all; if two do, the second finds the
// configuration changed.
func (c *Caretaker) freeFormer(ctx context.Context) error {
	return task.Every(ctx, freeEvery, func() {
		if len(c.Config().Former) == 0 || !c.Absences.First(c.Name) {
			return
		}
		freed, err := c.Store.Former.Free(ctx, config.Note{Who: "berthd@" + c.Name, Message: "every node has taken former gateways off"})
		if err != nil {
			c.Log.Debug("former gateways are not free yet", zap.Error(err))
		} else if freed > 0 {
			c.Log.Info("former gateways are free", zap.Int("addresses", freed))
		}
	})
}
