package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"go.uber.org/zap"
)

// errSuperseded says that the session under which something was chosen is not the node's any more.
var errSuperseded = errors.New("agent: the node's session has changed meanwhile")

// errTimesChanged says that the settings want this node to fence by other times or in another mode.
var errTimesChanged = errors.New("agent: the settings of fencing have changed")

// keepPresence joins the cluster, settles, and keeps the session; when etcd has ended the session it does so again.
// Meanwhile the node goes on with what it has, as long as its rights last.
func (a *Agent) keepPresence(ctx context.Context) error {
	a.wait("waiting for etcd at %s", strings.Join(a.Etcd.Endpoints, ", "))
	for ctx.Err() == nil {
		err := a.present(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fatal(err):
			return err
		case errors.Is(err, lease.ErrSessionLost):
			a.Log.Warn("etcd has ended this node's session; joining again")
			continue
		case errors.Is(err, errTimesChanged):
			a.Log.Info("the times or the mode of fencing have changed; joining again")
			continue
		}
		if a.waiting.Load() != nil {
			a.wait("cannot join the cluster by etcd at %s yet: %v", strings.Join(a.Etcd.Endpoints, ", "), err)
		}
		a.Log.Warn("cannot join the cluster; trying again", zap.Error(err))
		pause(ctx, time.Second)
	}
	return nil
}

// fatal tells what only a person can mend from what passes.
func fatal(err error) bool {
	_, taken := errors.AsType[*lease.NodeTakenError](err)
	_, alive := errors.AsType[*lease.NodeAliveError](err)
	_, foreign := errors.AsType[*foreignClusterError](err)
	return taken || alive || foreign || errors.Is(err, lease.ErrReplaced)
}

// present is one session from its beginning to its end.
func (a *Agent) present(ctx context.Context) error {
	if err := a.meetCluster(ctx); err != nil {
		return err
	}
	config, err := a.store.Config(ctx)
	if err != nil {
		return err
	}
	a.configure(config)
	me, former, err := a.nodeRecord(ctx, config.Settings)
	if err != nil {
		return err
	}
	// Others count by what the node key says: a shorter right is kept before it is written, a longer one after.
	a.rights.Limit(time.Duration(me.Session), time.Duration(me.AddressLease))
	session, err := a.store.Join(ctx, me)
	if err != nil {
		return err
	}
	if err := a.settle(ctx, session, former); err != nil {
		return err
	}
	return a.keep(ctx, session)
}

// keep keeps a session until etcd ends it, or until the node is to fence by other times.
func (a *Agent) keep(ctx context.Context, s *lease.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-a.resettle:
				node, now := s.Node(), a.config.Load().Settings
				if !sameTimes(now, lease.Settings{Fencing: node.Fencing, Session: node.Session, AddressLease: node.AddressLease}) {
					cancel(errTimesChanged)
				}
			}
		}
	}()
	err := s.Keep(ctx, func(sent time.Duration) { a.proven(s, sent) })
	if errors.Is(context.Cause(ctx), errTimesChanged) {
		return errTimesChanged
	}
	return err
}

// proven counts the rights anew from a read, begun at sent, that has seen this node's session.
func (a *Agent) proven(s *lease.Session, sent time.Duration) {
	node := s.Node()
	a.rights.Prove(sent, time.Duration(node.Session), time.Duration(node.AddressLease))
	if a.waiting.Swap(nil) != nil {
		a.Log.Info("ready", zap.Int64("generation", s.Generation()))
		a.backlog.signal.raise()
	}
}

// A foreignClusterError says that the journal's containers belong to another etcd cluster.
type foreignClusterError struct{ journal, actual, path string }

func (e *foreignClusterError) Error() string {
	return fmt.Sprintf("agent: the journal %s belongs to the etcd cluster %s, the endpoints are of cluster %s: give the former endpoints, or end this node's containers and move the journal away",
		e.path, e.journal, e.actual)
}

// meetCluster makes sure that etcd's cluster is the one that the state and the journal belong to.
func (a *Agent) meetCluster(ctx context.Context) error {
	id, err := a.store.ClusterID(ctx)
	if err != nil {
		return err
	}
	switch known := a.journal.Cluster(); known {
	case id:
	case "":
		if err := a.journal.SetCluster(id); err != nil {
			return err
		}
	default:
		return &foreignClusterError{known, id, a.Options.journal()}
	}
	return a.store.AcceptCluster(ctx)
}

// nodeRecord is what this agent writes into the node's key, and what the one before it wrote.
func (a *Agent) nodeRecord(ctx context.Context, s lease.Settings) (me lease.Node, former *lease.Node, err error) {
	nodes, err := a.store.Nodes(ctx)
	if err != nil {
		return me, nil, err
	}
	for _, n := range nodes {
		if n.Name == a.Node {
			former = &n
		}
	}
	return lease.Node{
		Name: a.Node, Machine: a.Machine, Boot: a.Boot, Journal: a.journal.ID(), Address: a.Address, Version: a.Version,
		Fencing: s.Fencing, Session: s.Session, AddressLease: s.AddressLease, Started: time.Now(),
	}, former, nil
}

// holding is the session under which an ADD may choose, or the reason why there is none.
func (a *Agent) holding(class allocator.Class) (*lease.Session, error) {
	if reason := a.waiting.Load(); reason != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "node %s hands out nothing yet: %s", a.Node, *reason)
	}
	if a.rights.Left(class) <= 0 {
		return nil, wire.Errorf(wire.CodeTryAgain, "node %s has not reached etcd for longer than its right to hand out %s addresses lasts: look at its /readyz and at etcd", a.Node, class)
	}
	a.gate.RLock()
	defer a.gate.RUnlock()
	return a.session, nil
}
