package agent

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
	"github.com/berth-ipam/berth/netops"
)

// errTimesChanged says that the settings want this node to fence by other times or in another mode.
var errTimesChanged = errors.New("agent: the settings of fencing have changed")

// errUnasserted says that etcd has got back a pool of which containers here have addresses.
var errUnasserted = errors.New("agent: a pool of this node's containers is known again")

// keepPresence joins the cluster, settles, and keeps the session; when etcd has ended the session it does so again.
// Meanwhile the node goes on with what it has, as long as its rights last.
func (a *Agent) keepPresence(ctx context.Context) error {
	a.wait("waiting for etcd at %s", strings.Join(a.Etcd.Endpoints, ", "))
	var again rejoin
	for ctx.Err() == nil {
		err := a.present(ctx)
		switch {
		case ctx.Err() != nil:
			//lint:ignore nilerr the agent is told to end, which is no fault
			return nil
		case errors.Is(err, session.ErrReplaced) && a.rewrittenByHand(ctx):
			a.Log.Warn("somebody has written this node's record by hand; joining again")
			continue
		case fatal(err):
			return err
		case errors.Is(err, session.ErrLost):
			a.Log.Warn("etcd has ended this node's session; joining again")
			continue
		case errors.Is(err, session.ErrClusterChanged), errors.Is(err, kv.ErrStoreReset):
			a.Log.Warn("etcd was restored, or its restored state accepted; joining again", zap.Error(err))
			continue
		case errors.Is(err, errTimesChanged), errors.Is(err, errUnasserted), errors.Is(err, errShaken), errors.Is(err, errMend):
			a.Log.Info("joining again", zap.Error(err))
			continue
		}
		if a.waiting.Load() != nil {
			a.wait("cannot join the cluster yet: %s", strings.TrimPrefix(err.Error(), "lease: "))
		}
		again.failed(ctx, a.Log, err)
	}
	return nil
}

// fatal tells what only a person can mend from what passes.
func fatal(err error) bool {
	_, taken := errors.AsType[*session.NodeTakenError](err)
	_, alive := errors.AsType[*session.NodeAliveError](err)
	_, foreign := errors.AsType[*foreignClusterError](err)
	return taken || alive || foreign || errors.Is(err, session.ErrReplaced)
}

// present is one session from its beginning to its end.
func (a *Agent) present(ctx context.Context) error {
	err := a.presentOnce(ctx)
	if bad, is := errors.AsType[*kv.DamagedError](err); is {
		a.tellBad("joining", []*kv.DamagedError{bad})
	}
	return err
}

func (a *Agent) presentOnce(ctx context.Context) error {
	warnings, err := a.store.KV.CheckRelease(ctx)
	if err != nil {
		return err
	}
	a.warnOfReleases(warnings)
	standing, err := a.meet(ctx)
	if err != nil {
		return err
	}
	config, err := a.store.Config.Read(ctx)
	if err != nil {
		return err
	}
	a.configure(config)
	config = config.KeepKnown(a.config.Load())
	a.reassert.Lower() // settling does it
	a.lost.Lower()
	me, former, err := a.nodeRecord(ctx, config)
	if err != nil {
		return err
	}
	a.noteForgotten(&me, former)
	if err := a.fenceBefore(me); err != nil {
		return err
	}
	unbroken, slept, known := a.unbroken(), netops.Suspended(), a.journal.Cluster()
	own, err := a.store.Sessions.Join(ctx, me)
	if err != nil {
		return err
	}
	if own.Cluster() != standing.Revision {
		return session.ErrClusterChanged // since it was met: what is recorded now is met anew
	}
	past := journal.Cluster{ID: standing.Cluster, Life: standing.Incarnation, Generation: own.Generation(), Slept: slept}
	a.journal.SetCluster(past)
	a.tellBad("joining", nil)
	return a.keep(ctx, &prover{agent: a, session: own, unbroken: unbroken, goesOn: a.goesOn(own, known, unbroken)}, standing)
}

// rewrittenByHand reports whether this node's record, which is not as its session wrote it any more, was not written by
// another agent either: it cannot be read, or says the same of this very start.
func (a *Agent) rewrittenByHand(ctx context.Context) bool {
	session := a.gate.Session()
	for session != nil && ctx.Err() == nil {
		now, err := a.store.Sessions.Node(ctx, a.Node)
		if _, damaged := errors.AsType[*kv.DamagedError](err); damaged {
			return true
		}
		if err == nil {
			wrote := session.Node()
			return now == nil || now.Journal == wrote.Journal && now.Boot == wrote.Boot && now.Started.Equal(wrote.Started)
		}
		task.Pause(ctx, time.Second)
	}
	return false
}

// keep keeps a session until etcd ends it, or until the node is to fence in another way. It settles beside that: however long
// settling takes, the session is renewed, and the rights that have not run out go on.
func (a *Agent) keep(ctx context.Context, p *prover, standing session.ClusterState) error {
	s := p.session
	ctx, cancel := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	defer func() {
		cancel(nil)
		beside.Wait() // else it could take a signal that is meant for the next session
	}()
	settled := make(chan struct{})
	beside.Go(func() { a.watchOver(ctx, s, settled, cancel) })
	if s.Recovering() {
		a.recoveryLeft(standing) // its time begins before the first proof
		beside.Go(func() { a.recoverCluster(ctx, standing) })
	} else {
		a.recovered()
	}
	beside.Go(func() {
		if err := a.settleUnder(ctx, p); err != nil {
			cancel(err)
			return
		}
		close(settled)
	})
	err := s.Keep(ctx, p)
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		return cause
	}
	return err
}

// settleUnder settles what the node holds under a new session, and has it proven as a whole then.
func (a *Agent) settleUnder(ctx context.Context, p *prover) error {
	if err := a.settleUnlessBroken(ctx, p.session); err != nil {
		return err
	}
	if err := a.fenceAfter(p.session.Node()); err != nil {
		return err
	}
	p.settled.Store(true)
	p.session.ProveSoon()
	return nil
}

// watchOver ends a session, by cancel, for reasons that are not etcd's. What only wants the node to settle anew waits until it has
// settled.
func (a *Agent) watchOver(ctx context.Context, s *session.Session, settled <-chan struct{}, cancel context.CancelCauseFunc) {
	for settling := true; settling; {
		select {
		case <-ctx.Done():
			return
		case <-a.lost:
			cancel(session.ErrLost)
		case <-a.shaken:
			cancel(errShaken)
		case <-settled:
			settling = false
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.lost:
			cancel(session.ErrLost)
		case <-a.shaken:
			cancel(errShaken)
		case <-a.mending:
			cancel(errMend)
		case <-a.reassert:
			cancel(errUnasserted)
		case <-a.resettle:
			node := s.Node()
			if !sameTimes(a.fencing(a.config.Load().Settings),
				record.Settings{Fencing: node.Fencing, Session: node.Session, AddressLease: node.AddressLease}) {
				cancel(errTimesChanged)
			}
		}
	}
}

// proven counts the rights anew from a read, begun at sent, that has seen this node's session.
func (a *Agent) proven(s *session.Session, sent time.Duration) {
	node := s.Node()
	a.rights.Prove(sent, time.Duration(node.Session), time.Duration(node.AddressLease))
	if a.waiting.Swap(nil) != nil {
		a.Log.Info("ready", zap.Int64("generation", s.Generation()))
		if a.Ready != nil {
			a.Ready()
		}
		a.backlog.signal.Raise()
		a.machine.look.Raise()
	}
}

// nodeRecord is what this agent writes into the node's key, and what the one before it wrote. Where the settings are not
// known the node fences on as it did.
func (a *Agent) nodeRecord(ctx context.Context, config *config.Config) (me record.Node, former *record.Node, err error) {
	if former, err = a.store.Sessions.Node(ctx, a.Node); err != nil {
		return me, nil, err
	}
	s := config.Settings
	if config.Unsettled {
		if former == nil {
			return me, nil, errors.New("the settings of the cluster cannot be read, and this node has none of before: see berthctl doctor")
		}
		s.Fencing, s.Session, s.AddressLease = former.Fencing, former.Session, former.AddressLease
	}
	return record.Node{
		Name: a.Node, Machine: a.Machine, Boot: a.Boot, Journal: a.journal.ID(), Address: a.Address, Version: a.Version,
		Fencing: a.fencing(s).Fencing, Session: s.Session, AddressLease: s.AddressLease, Started: time.Now(),
	}, former, nil
}

// holding is the session under which an ADD may choose, or the reason why there is none.
func (a *Agent) holding(class allocator.Class) (*session.Session, error) {
	if reason := a.waiting.Load(); reason != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", a.Node, *reason)
	}
	if a.rights.Remaining(class) <= 0 {
		return nil, wire.Errorf(wire.CodeTryAgain,
			"node %s has not reached etcd for longer than its right to hand out %s addresses lasts: look at its /readyz and at etcd", a.Node, class)
	}
	return a.gate.Session(), nil
}
