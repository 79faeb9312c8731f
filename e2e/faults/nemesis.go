package faults

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

// A nemesis breaks things and mends them.
type nemesis struct {
	w    *world
	busy sync.Map // what a fault has in hand: another that wants it is skipped
	wait sync.WaitGroup

	mu   sync.Mutex
	cuts []*[]cut // of each partition under way
}

// A cut lets nothing pass from one machine to another.
type cut struct{ from, to lab.Side }

// unleash begins each fault of the plan when its time comes, until ctx ends, and returns when all is mended.
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
	// What is broken is mended although the run is over.
	if err := n.act(context.WithoutCancel(ctx), f, pause); err != nil {
		n.w.count(string(f.Kind) + " failed: " + err.Error())
		return
	}
	n.w.count("fault " + string(f.Kind))
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
		return n.pause(h, pause)
	case KillEtcd, PauseEtcd, Defragment, Leader, Compact:
		return n.trouble(ctx, f, pause)
	case Disk:
		err := h.Fill()
		pause()
		return errors.Join(err, h.Free())
	case Revoke:
		defer n.w.away(check.Revoked, h)()
		return n.w.lab.Etcd.Revoke(ctx, h.Name)
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
	defer n.w.away(f.Kind, h)()
	return n.w.without(ctx, h, h.Kill, func() error {
		if f.Kind == Clock {
			h.ClockOffset += time.Duration(1+f.Variant) * 10 * time.Second
		} else {
			pause()
		}
		return nil
	})
}

// pause stops an agent and lets it go on. The supervisor lets it be meanwhile.
func (n *nemesis) pause(h *host, pause func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.Running() {
		return errors.New("it does not run")
	}
	defer n.w.away(PauseAgent, h)()
	if err := h.Pause(); err != nil {
		return err
	}
	pause()
	return h.Resume()
}

// reboot lets a node lose its power.
func (n *nemesis) reboot(ctx context.Context, h *host, pause func()) error {
	defer n.w.away(Reboot, h)()
	return n.w.without(ctx, h, func() error {
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

// trouble is what happens to etcd. Every node may lose its way to it meanwhile.
func (n *nemesis) trouble(ctx context.Context, f Fault, pause func()) (err error) {
	defer n.w.away(f.Kind, n.w.nodes...)()
	m, etcd := n.member(f), n.w.lab.Etcd
	switch f.Kind {
	case KillEtcd:
		if err = m.Kill(); err == nil {
			pause()
			err = m.Launch()
		}
	case PauseEtcd:
		if err = m.Pause(); err == nil {
			pause()
			err = m.Resume()
		}
	case Defragment:
		err = etcd.Defragment(ctx)
	case Leader:
		_, err = etcd.MoveLeader(ctx)
	case Compact:
		_, err = etcd.Compact(ctx)
	}
	return errors.Join(err, n.w.etcdServes(ctx))
}

// restore brings etcd back to what it held when the fault began.
func (n *nemesis) restore(ctx context.Context, pause func()) error {
	path := filepath.Join(scratch, "snapshot")
	taken := n.w.now()
	if err := n.w.lab.Etcd.Snapshot(ctx, path); err != nil {
		return err
	}
	pause()
	defer n.w.away(Restore, n.w.nodes...)()
	err := n.w.lab.Etcd.Restore(ctx, path, lab.NewToken)
	n.w.mu.Lock()
	n.w.history.Restores = append(n.w.history.Restores, check.Restore{Taken: taken, At: n.w.now()})
	n.w.mu.Unlock()
	return errors.Join(err, n.w.etcdServes(ctx))
}

// part cuts machines from each other, in one of several ways.
func (n *nemesis) part(ctx context.Context, f Fault, pause func()) error {
	etcd := n.w.lab.Etcd.Side()
	var from, to lab.Side
	hosts := n.w.nodes
	if f.Kind == Split {
		m := n.member(f)
		from, to = lab.Side{m.Name}, slices.DeleteFunc(slices.Clone(etcd), func(name string) bool { return name == m.Name })
	} else {
		from, to, hosts = lab.Side{n.host(f).Name}, etcd, []*host{n.host(f)}
		if f.Variant%4 == 3 {
			to = lab.Side{n.member(f).Name}
		}
	}
	cuts := []cut{{from, to}, {to, from}}
	switch f.Variant % 3 { // both ways are the most frequent
	case 1:
		cuts = cuts[:1+f.Variant/6]
	case 2:
		cuts = cuts[1-f.Variant/6:]
	}
	defer n.w.away(f.Kind, hosts...)()
	err := n.cut(&cuts)
	pause()
	err = errors.Join(err, n.heal(&cuts))
	if f.Kind == Split {
		err = errors.Join(err, n.w.etcdServes(ctx))
	}
	return err
}

func (n *nemesis) cut(cuts *[]cut) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = append(n.cuts, cuts)
	return n.apply(cuts)
}

func (n *nemesis) apply(cuts *[]cut) (err error) {
	for _, c := range *cuts {
		err = errors.Join(err, n.w.lab.Cut(c.from, c.to))
	}
	return err
}

// heal ends one partition; the others stay.
func (n *nemesis) heal(cuts *[]cut) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = slices.DeleteFunc(n.cuts, func(c *[]cut) bool { return c == cuts })
	err := n.w.lab.Heal()
	for _, c := range n.cuts {
		err = errors.Join(err, n.apply(c))
	}
	return err
}
