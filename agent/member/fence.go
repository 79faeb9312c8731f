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
)

// FenceBefore applies the fencing that the node's key is about to state, before it is written, because other nodes rely on the
// key from then on. A shorter right applies before the key is written, a longer one only after the next proof.
func (k *Keeper) FenceBefore(me record.Node) error {
	if k.Alone && k.Config().Settings.Fencing == record.FencingStrict {
		k.Log.Warn("strict fencing does nothing on a machine with an etcd of its own: there is nobody who could take an address")
	}
	k.Rights.Limit(time.Duration(me.Session), time.Duration(me.AddressLease))
	if me.Fencing != record.FencingStrict {
		return nil
	}
	if err := k.Kernel().TryFence(); err != nil {
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
	return k.Kernel().SetFence(true, left)
}

// closeLonger closes the fence where a timer, of this agent or of one before it, runs longer than the right that the node's key
// is about to state.
func (k *Keeper) closeLonger(me record.Node) error {
	passing, err := k.Kernel().Passing()
	if err != nil {
		return err
	}
	for _, class := range allocator.Classes {
		if passing[string(class)] > node.RightOf(me, class) {
			return k.Kernel().CloseAll()
		}
	}
	return nil
}

// fenceAfter removes the fence once the node's key states that there is none.
func (k *Keeper) fenceAfter(me record.Node) error {
	if me.Fencing == record.FencingStrict {
		return nil
	}
	return k.Kernel().SetFence(false, nil)
}

// A Prover counts a session's rights, and in strict mode makes the kernel count them too. The timers of a closed slot start
// before the proof is sent, and its answer only opens the slot. So a crash at any point can only shorten the time for which the
// kernel lets traffic pass.
type Prover struct {
	Agent     *Keeper
	Session   *session.Session
	Unbroken  map[allocator.Class]bool // the rights that had not run out when the session began
	continued map[allocator.Class]bool // those of them under which no other node can have taken anything over before this one has settled
	Settled   atomic.Bool

	whole bool // the node had settled when the proof under way was armed
	armed map[string]time.Duration
}

func (p *Prover) strict() bool { return p.Session.Node().Fencing == record.FencingStrict }

// Arm is called before the read that is to prove the session is sent.
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
	return p.Agent.Kernel().Arm(p.armed)
}

func (p *Prover) rights() map[allocator.Class]time.Duration {
	me := p.Session.Node()
	return map[allocator.Class]time.Duration{
		allocator.Stateful: node.RightOf(me, allocator.Stateful), allocator.Stateless: node.RightOf(me, allocator.Stateless),
	}
}

// mayPass reports whether a class may be opened. Before the node has settled, only a right that has never run out continues.
// While etcd recovers, a right that has run out begins again only after all other rights over the class have run out: in the
// history that etcd has lost, this node's addresses may have been given to others.
func (p *Prover) mayPass(class allocator.Class) bool {
	if !p.whole {
		return p.continued[class]
	}
	return !p.Session.Recovering() || p.Unbroken[class] || p.Agent.Recovery.over(class)
}

// Unbroken are the classes that this node lets pass now under a right that has not run out.
func (k *Keeper) Unbroken() map[allocator.Class]bool {
	all := k.inherited()
	for _, class := range allocator.Classes {
		all[class] = all[class] || k.passing[class] && k.Rights.Remaining(class) > 0
	}
	return all
}

// inherited are the classes whose kernel timers, of this agent or of one before it, have not run out. The timers stand still
// while the machine sleeps, so that they do not count after a sleep.
func (k *Keeper) inherited() map[allocator.Class]bool {
	all := map[allocator.Class]bool{}
	passing, err := k.Kernel().Passing()
	if err != nil || k.Clock.Asleep() > k.Journal.Cluster().Slept+sleepEvery/2 {
		return all
	}
	for _, class := range allocator.Classes {
		all[class] = passing[string(class)] > 0
	}
	return all
}

// Proven is called when the read's answer has proven the session.
func (p *Prover) Proven(sent time.Duration) {
	if p.strict() {
		if err := p.Agent.Kernel().Open(); err != nil && len(p.armed) > 0 {
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

// continued are the rights that a session continues before its node has settled: those that have not run out, if the node's key
// was last written by this agent or by one before it with this journal. Nobody can have taken anything over then. While etcd
// recovers there are none, because what is not asserted yet is given away when the recovery ends.
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

// proven restarts the rights at the time at which a read was sent that has seen this node's session.
func (k *Keeper) proven(s *session.Session, sent time.Duration) {
	node := s.Node()
	k.Rights.Prove(sent, time.Duration(node.Session), time.Duration(node.AddressLease))
	if k.Ready() {
		k.Log.Info("ready", zap.Int64("generation", s.Generation()))
		k.ready()
		k.backlog.Signal.Raise()
	}
}
