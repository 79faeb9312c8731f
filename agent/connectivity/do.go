package connectivity

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/check"
	"github.com/berth-ipam/berth/lease/record"
)

// do makes the containers, asks the others' when they are known, and takes them away when the check is over.
func (p *part) do(ctx context.Context) {
	p.Log.Info("takes part in a check of the network", zap.String("by", p.check.Who), zap.Strings("pools", p.check.Pools))
	answer := record.CheckAnswer{Version: p.Version}
	probes := p.makeAll(ctx)
	defer p.removeAll(probes)
	for _, each := range probes {
		answer.Probes = append(answer.Probes, each.record)
	}
	p.answer(ctx, answer)
	select {
	case p.check = <-p.peers:
	case <-ctx.Done():
		return
	}
	if slices.Contains(p.check.From, p.Name) {
		answer.Results = p.askAll(ctx, probes)
		answer.Asked = true
		p.answer(ctx, answer)
	}
	<-ctx.Done() // others may still ask
}

// makeAtOnce is how many containers are made at a time.
const makeAtOnce = 8

// makeAll makes a container in each pool of the check.
func (p *part) makeAll(ctx context.Context) []*probe {
	all := make([]*probe, len(p.check.Pools))
	var making sync.WaitGroup
	slots := make(chan struct{}, makeAtOnce)
	for i, pool := range p.check.Pools {
		all[i] = &probe{record: record.CheckProbe{Pool: pool}}
		making.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := p.make(ctx, all[i]); err != nil {
				all[i].record.Error = err.Error()
				return
			}
			p.askAtHome(ctx, all[i])
		})
	}
	making.Wait()
	return all
}

// answerPause is how long it waits before it tries again to answer.
const answerPause = 200 * time.Millisecond

// answer writes what was done so far, as soon as the node has a session to do it by, while somebody waits for it.
func (p *part) answer(ctx context.Context, a record.CheckAnswer) {
	for ctx.Err() == nil {
		if session := p.Gate.Session(); session != nil {
			err := check.Answer(ctx, session, p.check, a)
			if err == nil || errors.Is(err, check.ErrWithdrawn) {
				return
			}
			p.Log.Debug("cannot answer a check yet", zap.Error(err))
		}
		task.Pause(ctx, answerPause)
	}
}
