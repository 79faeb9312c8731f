package faults

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

// A nemesis breaks things and repairs them.
type nemesis struct {
	w    *world
	busy sync.Map // what a fault has in hand: another that wants it is skipped
	wait sync.WaitGroup

	mu   sync.Mutex
	cuts []*[]cut // of each partition under way
}

// unleash begins each fault of the plan when its time comes, until ctx ends, and returns when all is repaired.
func (n *nemesis) unleash(ctx context.Context, faults []Fault) {
	for _, f := range faults {
		select {
		case <-ctx.Done():
		case <-time.After(f.At - n.w.now()):
		}
		if ctx.Err() != nil {
			break
		}
		n.wait.Go(func() { n.strike(ctx, f) })
	}
	n.wait.Wait()
}

// strike is one fault from its beginning to its end.
func (n *nemesis) strike(ctx context.Context, f Fault) {
	what := n.target(f)
	if _, taken := n.busy.LoadOrStore(what, true); taken {
		n.w.count(string(f.Kind) + " skipped: another has it in hand")
		return
	}
	defer n.busy.Delete(what)
	pause := func() {
		select {
		case <-ctx.Done():
		case <-time.After(f.For):
		}
	}
	// What is broken is repaired although the run is over.
	if err := n.act(context.WithoutCancel(ctx), f, pause); err != nil {
		n.w.count(string(f.Kind) + " failed: " + err.Error())
	}
}

func (n *nemesis) host(f Fault) *host { return n.w.nodes[f.Node%len(n.w.nodes)] }

func (n *nemesis) member(f Fault) *lab.Member {
	return n.w.lab.Etcd.Members[f.Node%len(n.w.lab.Etcd.Members)]
}

// target names what a fault takes in hand.
func (n *nemesis) target(f Fault) string {
	switch f.Kind {
	case KillAgent, PauseAgent, Clock, Reboot:
		return n.host(f).Name
	case Disk, Partition, Revoke:
		return string(f.Kind) + n.host(f).Name
	case Compact:
		return string(f.Kind)
	}
	return "etcd" // one member of it at a time, so that most of them are there
}

func (n *nemesis) act(ctx context.Context, f Fault, pause func()) error {
	h := n.host(f)
	switch f.Kind {
	case Partition, Split:
		return n.part(ctx, f, pause)
	case KillAgent, Clock:
		return n.kill(ctx, f, h, pause)
	case PauseAgent:
		return n.pause(ctx, h, pause)
	case KillEtcd, PauseEtcd, Defragment, Leader, Compact:
		return n.trouble(ctx, f, pause)
	case Disk:
		defer n.w.suffers(Disk, h.Name)()
		err := h.Fill()
		if err == nil {
			n.w.shows(Disk, full(h))
		}
		pause()
		return errors.Join(err, h.Free())
	case Revoke:
		return n.revoke(ctx, h)
	case Restore:
		return n.restore(ctx, pause)
	case Reboot:
		return n.reboot(ctx, h, pause)
	}
	return errors.New("nobody knows how")
}

// kill ends an agent, and starts it again: with another clock where the fault is one of the clock.
func (n *nemesis) kill(ctx context.Context, f Fault, h *host, pause func()) error {
	if f.Kind == Clock {
		if err := lab.ClocksCanJump(); err != nil {
			return err
		}
	}
	var missing error
	err := n.w.without(ctx, f.Kind, h, h.Kill, func() error {
		missing = mute(ctx, h)
		if f.Kind == Clock {
			h.ClockOffset += time.Duration(1+f.Variant) * 10 * time.Second
		} else {
			pause()
		}
		return nil
	})
	if err == nil && f.Kind == Clock {
		missing = off(h)
	}
	n.w.shows(f.Kind, missing)
	return err
}

// pause stops an agent and lets it go on. The supervisor lets it be meanwhile.
func (n *nemesis) pause(ctx context.Context, h *host, pause func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.Running() {
		n.w.exited(h, false)
		return errors.New("it does not run")
	}
	defer n.w.away(PauseAgent, h)()
	if err := h.Pause(); err != nil {
		return err
	}
	n.w.shows(PauseAgent, mute(ctx, h))
	pause()
	return h.Resume()
}

// reboot lets a node lose its power.
func (n *nemesis) reboot(ctx context.Context, h *host, pause func()) error {
	before := inode(h.Netns())
	defer func() { n.w.shows(Reboot, other(before, inode(h.Netns()), "its network")) }()
	return n.w.without(ctx, Reboot, h, func() error {
		n.w.mu.Lock()
		n.w.history.Reboots = append(n.w.history.Reboots, check.Reboot{Node: h.Name, At: n.w.now()})
		h.boots++
		n.w.mu.Unlock()
		return h.PowerOff()
	}, func() error {
		pause()
		return h.PowerOn()
	})
}

// revoke ends a node's session by hand.
func (n *nemesis) revoke(ctx context.Context, h *host) error {
	etcd := n.w.lab.Etcd
	before, err := lease(ctx, etcd, h.Name)
	if err != nil {
		return err
	}
	n.w.mu.Lock()
	n.w.history.Revocations = append(n.w.history.Revocations, check.Revocation{Node: h.Name, At: n.w.now()})
	n.w.mu.Unlock()
	if err := etcd.Revoke(ctx, h.Name); err != nil {
		return err
	}
	after, err := lease(ctx, etcd, h.Name)
	if err == nil && after == before {
		err = errors.New("the session is still there")
	}
	n.w.shows(Revoke, err)
	return nil
}
