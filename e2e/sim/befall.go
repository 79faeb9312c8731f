package sim

import (
	"time"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/netops"
)

// doKill kills the agent, at a point if the step names one, and starts it again after a time.
func (n *node) doKill(s Step) error {
	p := n.agent.Load()
	if !n.alive() {
		return errSkipped
	}
	if s.Point == "" {
		p.die()
	} else {
		p.setTrap(s.Point, max(1, s.Nth))
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second): // it did not pass there
			p.setTrap("", 0)
			return errSkipped
		}
	}
	<-p.ended
	time.Sleep(s.For)
	return n.again(p)
}

// again starts the agent after p, unless something else has. As a supervisor does, it tries until it starts.
func (n *node) again(p *process) error {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	for n.agent.Load() == p && n.cluster.going() {
		err := n.start()
		if err == nil {
			return nil
		}
		n.cluster.note(err.Error())
		time.Sleep(time.Second)
	}
	return nil
}

func (n *node) doStop(s Step) error {
	p := n.agent.Load()
	if !n.alive() {
		return errSkipped
	}
	p.goOn()
	p.end()
	<-p.ended
	time.Sleep(s.For)
	return n.again(p)
}

func (n *node) doBoot(s Step) error {
	n.turn <- struct{}{}
	n.boot()
	<-n.turn
	time.Sleep(s.For)
	return n.again(nil)
}

func (n *node) doPause(s Step) error {
	p := n.agent.Load()
	if !n.alive() {
		return errSkipped
	}
	p.pause()
	time.Sleep(s.For)
	n.trouble(func(t *troubles) { t.paused = time.Now() })
	p.goOn()
	return nil
}

// conditioned gives a node's way to etcd a condition for a time.
func conditioned(condition etcd.Condition) func(*Cluster, Step) error {
	return onNode(func(n *node, s Step) error {
		n.way.Set(condition)
		time.Sleep(s.For)
		n.way.Set(etcd.Condition{})
		return nil
	})
}

func (n *node) doFill(s Step) error {
	fill := func(full bool) {
		n.trouble(func(t *troubles) { t.full = full })
		n.disk.SetFull(full)
	}
	fill(true)
	time.Sleep(s.For)
	fill(false)
	return nil
}

func (n *node) doClear(Step) error {
	n.disk.Clear()
	n.trouble(func(t *troubles) { t.forgot = true })
	return nil
}

// during sets something of a node's for a time.
func (n *node) during(d time.Duration, set func(*troubles)) error {
	n.trouble(set)
	time.Sleep(d)
	n.trouble(func(t *troubles) { t.disk, t.kernel, t.news = 0, 0, false })
	return nil
}

func (n *node) doBreakDisk(s Step) error {
	return n.during(s.For, func(t *troubles) { t.disk = 3 })
}

func (n *node) doBreakCall(s Step) error {
	return n.during(s.For, func(t *troubles) { t.kernel = 4 })
}

func (n *node) doNews(s Step) error {
	return n.during(s.For, func(t *troubles) { t.news = true })
}

// doSleep suspends the machine: its processes and the timers of its kernel stand still, and its clocks go on.
func (n *node) doSleep(s Step) error {
	p := n.agent.Load()
	if !n.alive() {
		return errSkipped
	}
	p.pause()
	n.host.Sleep(s.For)
	time.Sleep(s.For)
	n.trouble(func(t *troubles) { t.asleep, t.woke = t.asleep+s.For, time.Now() })
	p.goOn()
	return nil
}

func (n *node) doFlush(Step) error {
	helpless := !n.acts()
	n.trouble(func(t *troubles) { t.woke, t.flushed = time.Now(), helpless })
	n.host.FlushTable()
	return nil
}

// doClock steps the machine's wall clock, to and fro, by up to some hours.
func (n *node) doClock(s Step) error {
	n.trouble(func(t *troubles) { t.wall = time.Duration(s.Choice%20001-10000) * time.Second })
	return nil
}

// doClone tells the machine that it was cloned, or set back: it cannot know which of the two it is.
func (n *node) doClone(Step) error {
	n.host.Tell(netops.Event{Kind: netops.Cloned})
	return nil
}
