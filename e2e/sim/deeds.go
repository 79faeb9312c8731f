package sim

import (
	"time"

	"github.com/berth-ipam/berth/e2e/sim/etcd"
	"github.com/berth-ipam/berth/internal/wire"
)

// deeds are what each kind of step does. A deed may take its time: others go on meanwhile.
var deeds map[Deed]func(*Cluster, Step) error

func init() {
	deeds = map[Deed]func(*Cluster, Step) error{
		Add: atPlace((*place).doAdd), Again: atPlace((*place).doAgain), Renew: atPlace((*place).doRenew), Seize: atPlace((*place).doSeize),
		Delete: atPlace((*place).doDelete), LateDel: atPlace((*place).doLate), Move: atPlace((*place).doMove), End: atPlace((*place).doEnd),
		Check: atPlace((*place).doCheck), GiveUp: atPlace((*place).doGiveUp),
		Collect: onNode((*node).doCollect), Misled: onNode((*node).doMisled), Status: onNode((*node).doStatus),
		Strange: onNode((*node).doStrange), Repeat: onNode((*node).doRepeat), Stale: atPlace((*place).doStale),
		Once: atPlace((*place).doOnce), Mangle: atPlace((*place).doMangle), DNS: doDNS, Version: doVersion,
		Set: atPlaces(insertSet), Each: atPlaces(insertEach), DelSet: atPlaces(deleteSet),
		Kill: onNode((*node).doKill), Stop: onNode((*node).doStop), Boot: onNode((*node).doBoot), Pause: onNode((*node).doPause),
		Cut: conditioned(etcd.Condition{Cut: true}), CutBack: conditioned(etcd.Condition{CutBack: true}),
		Lossy: conditioned(etcd.Condition{LoseRequest: 4, LoseAnswer: 4, Repeat: 4, Late: 8}),
		Slow:  conditioned(etcd.Condition{Slow: 1500 * time.Millisecond}),
		Hang:  conditioned(etcd.Condition{Hang: true}), Freeze: onNode((*node).doFreeze),
		Deny: conditioned(etcd.Condition{Deny: true}), DenyPut: conditioned(etcd.Condition{DenyWrites: true}),
		Leader: doLeader, Alarm: doAlarm, Defrag: doDefragment,
		Fill: onNode((*node).doFill), Clear: onNode((*node).doClear),
		Outage: doOutage, Compact: doCompact, Backup: doBackup, Restore: doRestore, Revoke: onNode((*node).doRevoke),
		BreakDisk: onNode((*node).doBreakDisk), BreakCall: onNode((*node).doBreakCall), News: onNode((*node).doNews),
		Sleep: onNode((*node).doSleep), Flush: onNode((*node).doFlush),
		Clock: onNode((*node).doClock), Clone: onNode((*node).doClone),
		Gateway: doGateway, Release: atPlace((*place).doRelease), Damage: doDamage,
		AddPool: doAddPool, Drain: doDrain, Retire: doRetire, Range: doRange, Fencing: doFencing, Rights: doRights, Rollback: doRollback,
		Reserve: atPlace((*place).doReserve), Remove: doRemoveNode, Fix: doFix, Advice: doAdvice, Erase: doErase,
		Exclude: doExclude, Include: doInclude, MTU: doMTU,
	}
}

func atPlace(f func(*place, Step) error) func(*Cluster, Step) error {
	return func(c *Cluster, s Step) error {
		p := c.place(s.Place)
		p.lock()
		defer p.unlock()
		if !c.going() {
			return errSkipped
		}
		return f(p, s)
	}
}

func onNode(f func(*node, Step) error) func(*Cluster, Step) error {
	return func(c *Cluster, s Step) error {
		n := c.node(s.Node)
		if n == nil {
			return errSkipped
		}
		return f(n, s)
	}
}

func (p *place) doAdd(s Step) error {
	n := p.cluster.node(s.Node)
	if p.current != nil && p.current.there() || n == nil {
		return errSkipped
	}
	return p.add(n)
}

// doOnce is a member's whole life.
func (p *place) doOnce(s Step) error {
	if err := p.doAdd(s); err != nil {
		return err
	}
	time.Sleep(s.For)
	if err := p.doDelete(s); err != nil {
		return err
	}
	return p.doRelease(s)
}

// doSeize makes another container while the place's own may live elsewhere, as an orchestrator does that believes its node dead.
func (p *place) doSeize(s Step) error {
	n := p.cluster.node(s.Node)
	if p.current == nil || n == nil || p.current.node == n {
		return errSkipped
	}
	return p.add(n)
}

func (p *place) doAgain(Step) error {
	if p.current == nil || !p.current.running() {
		return errSkipped
	}
	return p.current.insert(patience)
}

// doRenew has the container's ID go on in another namespace, as a runtime does whose machine has lost the former one.
func (p *place) doRenew(Step) error {
	c := p.current
	if c == nil || !c.running() {
		return errSkipped
	}
	ns, err := c.node.host.NewNamespace()
	if err != nil {
		return err
	}
	former := c.ns
	c.becomes(func(f *fate) { f.ending = true })
	former.End()
	p.cluster.judge.forget(c)
	c = &container{place: p, node: c.node, id: c.id, ns: ns, booted: c.booted}
	c.describe()
	p.current = c
	p.cluster.judge.register(c)
	if err := c.insert(patience); err != nil {
		c.remove()
		return err
	}
	return nil
}

// doDelete ends the place's container; where it has none, a former one that lives yet.
func (p *place) doDelete(Step) error {
	for _, c := range append([]*container{p.current}, p.former...) {
		if c != nil && !c.fate().deleted {
			c.remove()
			return nil
		}
	}
	return errSkipped
}

// doLate deletes a former container of the place once more.
func (p *place) doLate(s Step) error {
	if len(p.former) == 0 {
		return errSkipped
	}
	p.former[s.Choice%len(p.former)].becomes(func(f *fate) { f.ending = true })
	return p.former[s.Choice%len(p.former)].delete()
}

func (p *place) doMove(s Step) error {
	if err := p.doDelete(s); err != nil {
		return err
	}
	return p.doAdd(s)
}

// doEnd ends the namespace. The runtime finds out when it next looks: with the place's next step.
func (p *place) doEnd(Step) error {
	if p.current == nil || !p.current.running() {
		return errSkipped
	}
	p.current.becomes(func(f *fate) { f.ending = true })
	p.current.ns.End()
	return nil
}

func (p *place) doCheck(Step) error {
	c := p.current
	if c == nil || !c.running() {
		return errSkipped
	}
	sent := c.request
	_, err := c.node.call(patience, redial, &wire.Request{Operation: wire.Read, Verb: "CHECK", Containers: wire.Containers{sent}}, c.ns)
	return err
}

// doGiveUp adds with a caller that does not wait for the answer.
func (p *place) doGiveUp(s Step) error {
	n := p.cluster.node(s.Node)
	if p.current != nil && p.current.there() || n == nil {
		return errSkipped
	}
	c, err := p.create(n)
	if err != nil {
		return err
	}
	if p.current != nil {
		p.former = append(p.former, p.current)
	}
	p.current = c
	if err := c.insert(time.Millisecond + s.For); err != nil {
		c.remove()
		return err
	}
	return nil
}

// doCollect is GC with all attachments that the runtime knows of.
func (n *node) doCollect(Step) error {
	valid := []wire.Attachment{}
	for _, c := range n.cluster.judge.containersOf(n) {
		if c.there() {
			valid = append(valid, wire.Attachment{Container: c.id, Interface: iface})
		}
	}
	return n.collect(valid)
}

// doMisled is GC with a list of nothing, which ends all that are not young.
func (n *node) doMisled(Step) error {
	for _, c := range n.cluster.judge.containersOf(n) {
		c.becomes(func(f *fate) { f.ending = true })
	}
	return n.collect(nil)
}

func (n *node) collect(valid []wire.Attachment) error {
	_, err := n.call(patience, 0, &wire.Request{Operation: wire.GC, Network: network, Valid: valid})
	return err
}

func (n *node) doStatus(Step) error {
	asked := time.Now()
	_, err := n.call(patience, redial, &wire.Request{Operation: wire.Status, Network: network, Pool: poolName, Role: wire.Interface})
	n.cluster.judge.status(n, asked, err)
	return err
}

func (n *node) doStrange(s Step) error {
	strange := wire.Container{Network: network, ID: "stranger", Interface: iface, Role: wire.Interface}
	_, err := n.call(patience, 0, &wire.Request{Operation: wire.Delete, Verb: "DEL", Containers: wire.Containers{strange}})
	return err
}
