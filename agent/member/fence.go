package member

import (
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
	"github.com/berth-ipam/berth/netops"
)

// FenceBefore makes the node keep to what its key is about to say, before it says so: others count by that as soon as
// it is there. A shorter right is kept before it is written, a longer one counts only once it is proven.
func (k *Keeper) FenceBefore(me record.Node) error {
	if k.Alone && k.Config().Settings.Fencing == record.FencingStrict {
		k.Log.Warn("strict fencing does nothing on a machine with an etcd of its own: there is nobody who could take an address")
	}
	k.Rights.Limit(time.Duration(me.Session), time.Duration(me.AddressLease))
	if me.Fencing != record.FencingStrict {
		return nil
	}
	if err := k.Kernel.TryFence(); err != nil {
		return fmt.Errorf("agent: this node cannot fence strictly: %w", err)
	}
	if err := k.closeLonger(me); err != nil {
		return err
	}
	left := map[string]time.Duration{}
	for class, is := range k.Unbroken() {
		if is {
			left[string(class)] = k.Rights.Remaining(class)
		}
	}
	return k.Kernel.SetFence(true, left)
}

// closeLonger closes the fence where a timer of it runs for longer than the right that the node's key is about to tell of: one
// of this agent's, or of one before it.
func (k *Keeper) closeLonger(me record.Node) error {
	passing, err := k.Kernel.Passing()
	if err != nil {
		return err
	}
	for _, class := range allocator.Classes {
		if passing[string(class)] > node.RightOf(me, class) {
			return k.Kernel.CloseAll()
		}
	}
	return nil
}

// fenceAfter lifts the fence once the node's key says that there is none.
func (k *Keeper) fenceAfter(me record.Node) error {
	if me.Fencing == record.FencingStrict {
		return nil
	}
	return k.Kernel.SetFence(false, nil)
}

// A Prover counts a session's rights, and in strict mode makes the kernel count them too: the timers of a slot that is
// closed start before the proof is sent, and its answer only opens the slot. So whatever happens to the agent, or between
// the two, can only shorten the time for which the kernel lets pass.
type Prover struct {
	Agent     *Keeper
	Session   *session.Session
	Unbroken  map[allocator.Class]bool // the rights that had not run out when the session began
	continued map[allocator.Class]bool // those of them under which nobody can have taken anything until the node has settled
	Settled   atomic.Bool

	whole bool // the node had settled when the proof under way was armed
	armed map[string]time.Duration
}

func (p *Prover) strict() bool { return p.Session.Node().Fencing == record.FencingStrict }

// Arm is called before the read is sent that is to prove the session.
func (p *Prover) Arm() error {
	p.whole, p.armed = p.Settled.Load(), map[string]time.Duration{}
	for class, right := range p.rights() {
		if p.mayPass(class) {
			p.armed[string(class)] = right
		}
	}
	if !p.strict() {
		return nil
	}
	return p.Agent.Kernel.Arm(p.armed)
}

func (p *Prover) rights() map[allocator.Class]time.Duration {
	me := p.Session.Node()
	return map[allocator.Class]time.Duration{
		allocator.Stateful: node.RightOf(me, allocator.Stateful), allocator.Stateless: node.RightOf(me, allocator.Stateless),
	}
}

// mayPass reports whether a class may be opened. Before the node has settled only a right that has never run out goes on.
// While etcd recovers, a right that has run out does not begin again before
// all others' of the class have: what this node had may have been given on in the history that etcd has lost.
func (p *Prover) mayPass(class allocator.Class) bool {
	if !p.whole {
		return p.continued[class]
	}
	return !p.Session.Recovering() || p.Unbroken[class] || p.Agent.Recovery.over(class)
}

// Unbroken are the classes that this node lets pass now by a right that has not run out.
func (k *Keeper) Unbroken() map[allocator.Class]bool {
	all := k.inherited()
	for _, class := range allocator.Classes {
		all[class] = all[class] || k.passing[class] && k.Rights.Remaining(class) > 0
	}
	return all
}

// inherited are the classes whose right has not run out by a proof of which the kernel's timers still run: of this agent or the one
// before it. They stand still while the machine sleeps, so that they tell nothing once it has slept since that agent joined.
func (k *Keeper) inherited() map[allocator.Class]bool {
	all := map[allocator.Class]bool{}
	passing, err := k.Kernel.Passing()
	if err != nil || netops.Suspended() > k.Journal.Cluster().Slept+sleepEvery/2 {
		return all
	}
	for _, class := range allocator.Classes {
		all[class] = passing[string(class)] > 0
	}
	return all
}

// Proven is called when the read's answer has proven it.
func (p *Prover) Proven(sent time.Duration) {
	if p.strict() {
		if err := p.Agent.Kernel.Open(); err != nil && len(p.armed) > 0 {
			p.Agent.Log.Error("cannot let pass what this node has a right to", zap.Error(err))
		}
	}
	for _, class := range allocator.Classes {
		p.Agent.passing[class] = p.armed[string(class)] > 0
	}
	switch {
	case p.whole:
		p.Agent.proven(p.Session, sent)
	case len(p.continued) > 0:
		p.Agent.Rights.Extend(sent)
	}
}

// continued are the rights that a session continues before its node has settled: those that have not run out by now, if nobody
// has written the node's key since this agent, or one before it with this journal, has. Nobody can have taken anything then.
// While etcd recovers there are none, since what is not asserted yet is given to others when the recovery ends.
func (k *Keeper) continued(s *session.Session, past journal.Cluster, unbroken map[allocator.Class]bool) map[allocator.Class]bool {
	if s.Recovering() || s.Former() == 0 || s.Former() != past.Generation {
		return nil
	}
	all := k.Unbroken()
	for class := range all {
		all[class] = all[class] && unbroken[class]
	}
	return all
}
