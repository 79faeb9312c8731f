package main

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/exclusive"
	"github.com/berth-ipam/berth/netops/hold"
)

// locks are what this agent has exclusively. The kernel releases them when the process ends.
type locks []func()

func (l locks) release() {
	for _, release := range l {
		release()
	}
}

// lock acquires what no second agent may have: the run directory, whose socket and journal are one agent's; the network
// namespace, because each agent treats all ports in it as its own; and the data of embedded etcd.
func (o *options) lock(log *zap.Logger) (held locks, err error) {
	defer func() {
		if err != nil {
			held.release()
		}
	}()
	self := fmt.Sprintf("the agent of node %s (process %d, run directory %s)", o.agent.Name, os.Getpid(), o.agent.RunDir)
	if err := held.directory(o.agent.RunDir, self, "--run-dir"); err != nil {
		return held, err
	}
	own, err := hold.Namespace(self)
	switch _, taken := errors.AsType[*hold.HeldError](err); {
	case taken:
		return held, fmt.Errorf("%w: a network namespace has one agent: stop that one first", err)
	case errors.Is(err, hold.ErrUnsupported):
		log.Warn("cannot keep other agents out of this network namespace: see that only one runs here", zap.Error(err))
	case err != nil:
		return held, err
	default:
		held = append(held, own.Close)
	}
	if len(o.etcd.Endpoints) == 0 {
		err = held.directory(o.dataDir, self, "--data-dir")
	}
	return held, err
}

func (l *locks) directory(dir, self, flag string) error {
	lock, err := exclusive.Lock(dir, self)
	if _, taken := errors.AsType[*exclusive.HeldError](err); taken {
		return fmt.Errorf("%w: stop that one, or give this one another %s", err, flag)
	}
	if err != nil {
		return fmt.Errorf("lock the directory of %s: %w", flag, err)
	}
	*l = append(*l, func() { _ = lock.Close() })
	return nil
}
