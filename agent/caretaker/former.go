package caretaker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
)

// freeEvery is how often it is looked whether every node has taken a former gateway off.
const freeEvery = 2 * time.Second

// freeFormer gives former gateways free that every node has taken off. One agent does it for all; if two believe that they are
// the one, the second finds the configuration changed.
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
