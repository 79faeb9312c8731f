package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
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

// settle brings journal, kernel and allocator into agreement with what etcd says this node holds. The node key is
// rewritten by now, so that nobody takes anything from this node on older evidence; and no ADD commits meanwhile.
func (a *Agent) settle(ctx context.Context, s *lease.Session, former *lease.Node) error {
	blocks, err := a.store.Blocks(ctx)
	if err != nil {
		return err
	}
	if blocks, err = a.assert(ctx, s, blocks); err != nil {
		return err
	}
	reservations, err := a.store.Reservations(ctx)
	if err != nil {
		return err
	}
	// Another journal served this boot: what it handed out is known by the kernel's interfaces alone.
	forgotten := former != nil && former.Boot == a.Boot && former.Journal != a.journal.ID()

	a.gate.Lock()
	a.session = s
	for _, b := range blocks {
		a.blocks.put(b)
	}
	a.settleParts(blocks, forgotten)
	unknown := a.settleReservations(reservations)
	a.settlePorts()
	a.gate.Unlock()

	if err := a.store.Detach(ctx, merged(unknown)); err != nil {
		return err
	}
	return a.republish(ctx, blocks)
}

// assert claims again the blocks that the journal's addresses lie in and that etcd has no record of: missing is not
// lost. It returns the blocks with those that it claimed, or that others had claimed.
func (a *Agent) assert(ctx context.Context, s *lease.Session, blocks []lease.Block) ([]lease.Block, error) {
	known := map[blockKey]bool{}
	for _, b := range blocks {
		known[blockKey{b.Pool, b.Prefix}] = true
	}
	for _, e := range a.journal.Entries() {
		pool, config, err := a.pool(e.Pool)
		if err != nil || e.Class == allocator.Stateful {
			continue
		}
		for _, addr := range e.Addresses {
			k := blockKey{e.Pool, pool.BlockOf(addr)}
			if known[k] {
				continue
			}
			b, err := s.ClaimBlock(ctx, k.pool, config.PoolRevisions[k.pool], k.prefix)
			if err != nil && !errors.Is(err, lease.ErrTaken) {
				return nil, err
			}
			a.Log.Warn("etcd had no record of a block in use", zap.Stringer("block", k.prefix), zap.Bool("claimed again", err == nil))
			known[k] = true
			blocks = append(blocks, b)
		}
	}
	return blocks, nil
}

// settleParts gives the allocator the parts that etcd says are this node's, and isolates who has an address in
// somebody else's. It runs under the gate.
func (a *Agent) settleParts(blocks []lease.Block, forgotten bool) {
	own := map[spaceKey][]lease.Part{}
	for _, b := range blocks {
		for _, p := range parts(b, a.Node) {
			k := spaceKey{b.Pool, allocator.FamilyOf(p.Prefix.Addr())}
			own[k] = append(own[k], p)
		}
		a.lose(b)
	}
	fresh := map[spaceKey]bool{}
	a.pools.each(func(k spaceKey, s *allocator.Space) {
		fresh[k] = len(s.Parts()) == 0
		for _, p := range own[k] {
			if !forgotten {
				s.Add(p.Prefix, p.Taken)
			}
		}
	})
	a.journal.Forget(func(f journal.Freed) (gone bool) {
		a.pools.on(f.Pool, f.Address, func(s *allocator.Space) { gone = !s.Owns(f.Address) })
		return gone
	})
	for _, e := range a.journal.Entries() {
		for _, addr := range e.Addresses {
			a.pools.on(e.Pool, addr, func(s *allocator.Space) {
				if s.Owns(addr) && !s.Holds(addr) {
					_ = s.Hold(addr) // owned: cannot fail
				}
			})
		}
	}
	for _, f := range a.journal.Freed() {
		if fresh[spaceKey{f.Pool, allocator.FamilyOf(f.Address)}] {
			a.pools.on(f.Pool, f.Address, func(s *allocator.Space) {
				if s.Hold(f.Address) == nil {
					s.Release(f.Address, f.App, f.At, f.Quarantine)
				}
			})
		}
	}
}

// lose isolates whoever has an address in a part of b that is another's.
func (a *Agent) lose(b lease.Block) {
	for _, p := range b.Parts {
		if p.Owner == a.Node {
			continue
		}
		for _, e := range a.journal.Entries() {
			if e.Pool == b.Pool && e.Class == allocator.Stateless && anyIn(e.Addresses, p.Prefix) {
				a.isolate(e, fmt.Sprintf("block %s belongs to %s now", p.Prefix, p.Owner))
			}
		}
		a.pools.with(spaceKey{b.Pool, allocator.FamilyOf(p.Prefix.Addr())}, func(s *allocator.Space) { s.Drop(p.Prefix) })
	}
}

// settleReservations isolates who has a reserved address that etcd attaches to another, and returns the attachments
// that etcd believes to be here and that are not.
func (a *Agent) settleReservations(all []lease.Reservation) (unknown []lease.Detachment) {
	for _, r := range all {
		a.compareHolder(r)
		if r.Holder == nil || r.Holder.Node != a.Node {
			continue
		}
		if e := a.journal.Get(r.Holder.Attachment); e == nil || e.Epoch != r.Epoch {
			unknown = append(unknown, lease.Detachment{
				Pool: r.Pool, Addresses: []netip.Addr{r.Address}, Identity: r.Identity, Attachment: r.Holder.Attachment, Epoch: r.Epoch,
			})
		}
	}
	return unknown
}

// compareHolder isolates the local container that has the reservation's address if another attachment holds it.
func (a *Agent) compareHolder(r lease.Reservation) {
	e := a.journal.Holder(r.Pool, r.Address)
	if e == nil || r.Holder == nil || r.Epoch < e.Epoch || r.Holder.Attachment == e.Attachment && r.Holder.Node == a.Node {
		return
	}
	a.isolate(e, fmt.Sprintf("address %s is attached to %s on node %s now", r.Address, r.Holder.Attachment, r.Holder.Node))
}

// settlePorts lets pass who has kept its address.
func (a *Agent) settlePorts() {
	for _, e := range a.journal.Entries() {
		if e.Wiring.Port == "" || e.Answered == 0 || a.isolated.why(e.Attachment) != "" {
			continue
		}
		if err := a.kernel.Join(e.Wiring.Port, string(e.Class)); err != nil {
			a.Log.Error("cannot let a container's port pass", zap.Stringer("attachment", e.Attachment), zap.Error(err))
		}
	}
}

func anyIn(addresses []netip.Addr, p netip.Prefix) bool {
	for _, a := range addresses {
		if p.Contains(a) {
			return true
		}
	}
	return false
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
