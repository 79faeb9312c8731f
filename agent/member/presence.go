package member

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// errTimesChanged says that the settings give this node other fencing times or another mode.
var errTimesChanged = errors.New("agent: the settings of fencing have changed")

// errHopsChanged says that other nodes reach this one by other addresses now.
var errHopsChanged = errors.New("agent: this node's addresses have changed")

// errPoolRestored says that a pool which containers here have addresses of is in etcd again.
var errPoolRestored = errors.New("agent: a pool of this node's containers is known again")

// keepPresence joins the cluster, settles, and keeps the session, again and again. Between sessions the node goes on with what it
// has, as long as its rights last.
func (k *Keeper) keepPresence(ctx context.Context) error {
	k.SetNotReady("waiting for etcd at %s", strings.Join(k.Etcd.Endpoints, ", "))
	var again rejoin
	for ctx.Err() == nil {
		err := k.present(ctx)
		switch {
		case ctx.Err() != nil:
			//lint:ignore nilerr the agent is stopping, which is no fault
			return nil
		case errors.Is(err, session.ErrReplaced) && k.rewrittenByHand(ctx):
			k.Log.Warn("this node's record was written by hand; joining again")
			continue
		case fatal(err):
			return err
		case errors.Is(err, session.ErrLost):
			k.Log.Warn("etcd has ended this node's session; joining again")
			continue
		case errors.Is(err, session.ErrClusterChanged), errors.Is(err, kv.ErrStoreReset):
			k.Log.Warn("etcd was restored, or its restored state accepted; joining again", zap.Error(err))
			continue
		case errors.Is(err, errTimesChanged), errors.Is(err, errHopsChanged),
			errors.Is(err, errPoolRestored), errors.Is(err, errUntrusted), errors.Is(err, errRepair):
			k.Log.Info("joining again", zap.Error(err))
			continue
		}
		if k.WhyNotReady() != "" {
			k.SetNotReady("cannot join the cluster yet: %s", strings.TrimPrefix(err.Error(), "lease: "))
		}
		again.failed(ctx, k.Log, err)
	}
	return nil
}

// fatal reports whether only an operator can resolve an error.
func fatal(err error) bool {
	_, taken := errors.AsType[*session.NodeTakenError](err)
	_, alive := errors.AsType[*session.NodeAliveError](err)
	_, foreign := errors.AsType[*foreignClusterError](err)
	return taken || alive || foreign || errors.Is(err, session.ErrReplaced)
}

// present is one session from its beginning to its end.
func (k *Keeper) present(ctx context.Context) error {
	err := k.PresentOnce(ctx)
	if bad, is := errors.AsType[*kv.DamagedError](err); is {
		k.ReportDamagedBy("joining", []*kv.DamagedError{bad})
	}
	return err
}

// PresentOnce runs one session from its beginning to its end.
func (k *Keeper) PresentOnce(ctx context.Context) error {
	warnings, err := k.Store.KV.CheckRelease(ctx)
	if err != nil {
		return err
	}
	k.WarnOfReleases(warnings)
	standing, err := k.Handshake(ctx)
	if err != nil {
		return err
	}
	config, err := k.Store.Config.Read(ctx)
	if err != nil {
		return err
	}
	k.Configure(config)
	config = config.KeepKnown(k.Config())
	k.Reassert.Lower() // the settling below does it
	k.Lost.Lower()
	me, former, err := k.NodeRecord(ctx, config)
	if err != nil {
		return err
	}
	k.Settler.addresses.NoteLostJournal(&me, former)
	if err := k.FenceBefore(me); err != nil {
		return err
	}
	unbroken, slept, known := k.Unbroken(), k.Clock.Asleep(), k.Journal.Cluster()
	own, err := k.Store.Sessions.Join(ctx, me)
	if err != nil {
		return err
	}
	if own.Cluster() != standing.Revision {
		return session.ErrClusterChanged // since the handshake: the new state needs another
	}
	past := journal.Cluster{ID: standing.Cluster, Life: standing.Incarnation, Generation: own.Generation(), Slept: slept}
	k.Journal.SetCluster(past)
	k.ReportDamagedBy("joining", nil)
	return k.keep(ctx, &Prover{Agent: k, Session: own, Unbroken: unbroken, continued: k.continued(own, known, unbroken)}, standing)
}

// keep keeps a session until etcd ends it or the fencing is to change. Settling runs beside it, so that the session is renewed
// and valid rights continue however long settling takes.
func (k *Keeper) keep(ctx context.Context, p *Prover, standing session.ClusterState) error {
	s := p.Session
	ctx, cancel := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	defer func() {
		cancel(nil)
		beside.Wait() // else it could consume a signal that is meant for the next session
	}()
	settled := make(chan struct{})
	beside.Go(func() { k.watchOver(ctx, s, settled, cancel) })
	if s.Recovering() {
		k.RecoveryLeft(standing) // its time begins before the first proof
		beside.Go(func() { k.recoverCluster(ctx, standing) })
	} else {
		k.Recovered()
	}
	beside.Go(func() {
		if err := k.settleUnder(ctx, p); err != nil {
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

// settleUnder settles under a new session, and has the session proven for the settled node.
func (k *Keeper) settleUnder(ctx context.Context, p *Prover) error {
	if err := k.Settler.settle(ctx, p.Session); err != nil {
		return err
	}
	if err := k.fenceAfter(p.Session.Node()); err != nil {
		return err
	}
	p.Settled.Store(true)
	p.Session.ProveSoon()
	return nil
}

// watchOver cancels a session for reasons other than etcd's. Requests to settle again wait until the present settling is done.
func (k *Keeper) watchOver(ctx context.Context, s *session.Session, settled <-chan struct{}, cancel context.CancelCauseFunc) {
	for settling := true; settling; {
		select {
		case <-ctx.Done():
			return
		case <-k.Lost:
			cancel(session.ErrLost)
		case <-k.Untrusted:
			cancel(errUntrusted)
		case <-settled:
			settling = false
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.Lost:
			cancel(session.ErrLost)
		case <-k.Untrusted:
			cancel(errUntrusted)
		case <-k.Repairing:
			cancel(errRepair)
		case <-k.Reassert:
			cancel(errPoolRestored)
		case <-k.resettle:
			node := s.Node()
			if !record.SameTimes(k.Fencing(k.Config().Settings),
				record.Settings{Fencing: node.Fencing, Session: node.Session, AddressLease: node.AddressLease}) {
				cancel(errTimesChanged)
			}
			// The record of a node is its generation, which all that it is given compares: it is rewritten by joining anew alone, as for other
			// times of fencing. In status/<node> hops would need no new generation, but then every node would be told of every other's batches.
			if !slices.Equal(k.hops(node.Hops), node.Hops) {
				cancel(errHopsChanged)
			}
		}
	}
}

// errRepair says that an operator asked this node to settle again.
var errRepair = errors.New("agent: asked to settle again")

// rewrittenByHand reports whether this node's record, which differs from what its session wrote, was not written by another
// agent: it is unreadable, or names this very start.
func (k *Keeper) rewrittenByHand(ctx context.Context) bool {
	session := k.Gate.Session()
	for session != nil && ctx.Err() == nil {
		now, err := k.Store.Sessions.Node(ctx, k.Name)
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

// NodeRecord is what this agent writes into the node's key, and what was there before. Where the settings are unknown, the node
// goes on with its former fencing.
func (k *Keeper) NodeRecord(ctx context.Context, config *config.Config) (me record.Node, former *record.Node, err error) {
	if former, err = k.Store.Sessions.Node(ctx, k.Name); err != nil {
		return me, nil, err
	}
	s := config.Settings
	if config.Unsettled {
		if former == nil {
			return me, nil, errors.New("the settings of the cluster cannot be read, and this node has none of before: see berthctl doctor")
		}
		s.Fencing, s.Session, s.AddressLease = former.Fencing, former.Session, former.AddressLease
	}
	var hops []netip.Addr
	if former != nil && former.Boot == k.Boot {
		hops = former.Hops
	}
	hops = k.hops(hops)
	return record.Node{
		Name: k.Name, Machine: k.Machine, Boot: k.Boot, Journal: k.Journal.ID(), Address: k.shown(hops), Hops: hops, Version: k.Version,
		Fencing: k.Fencing(s).Fencing, Session: s.Session, AddressLease: s.AddressLease, Started: k.Clock.Wall(),
	}, former, nil
}
