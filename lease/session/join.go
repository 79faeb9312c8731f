package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// joinTries bounds how often another agent of the same name may come between.
const joinTries = 5

// signsOfLife is how many renewals show that another boot is alive. One may be a new leader's doing, which gives every lease its whole
// time; some more may have been sent before the machine booted anew, and waited at a member of etcd that hung.
const signsOfLife = 4

// Join makes me a live node: one transaction rewrites the node's key and puts its session's under a fresh etcd lease.
// From then on every transaction of an earlier session of the node fails. It fails with *NodeTakenError if the name
// belongs to another machine, and with *NodeAliveError if another boot of the same machine keeps its session alive; to
// find that out it may watch for as long as two renewals take.
func (s *Store) Join(ctx context.Context, me record.Node) (*Session, error) {
	session, err := s.join(ctx, me)
	if err != nil {
		return nil, fmt.Errorf("lease: join as node %q: %w", me.Name, err)
	}
	return session, nil
}

func (s *Store) join(ctx context.Context, me record.Node) (session *Session, err error) {
	if err := validNode(me); err != nil {
		return nil, err
	}
	x := s.entrant(me, 0)
	defer func() {
		if session == nil && x.lease != 0 {
			s.kv.Revoke(x.lease)
		}
	}()
	for n := 1; ; n++ {
		before, err := s.Lookup(ctx, me.Name)
		if err != nil {
			return nil, err
		}
		if err := s.admit(ctx, me, before); err != nil {
			return nil, err
		}
		if x.lease == 0 { // only now: admit may watch for longer than it lasts
			if x.lease, err = s.kv.Grant(ctx, time.Duration(me.Session)); err != nil {
				return nil, err
			}
		}
		joined, err := x.enter(ctx, n, before)
		switch {
		case joined:
			if before.lease != 0 && before.lease != x.lease {
				s.kv.Revoke(before.lease) // it holds no key any more
			}
			return x, nil
		case err != nil && !s.kv.ShouldRetry(ctx, n, err):
			return nil, err
		case n == joinTries:
			return nil, errors.New("another agent keeps joining under the same name: give each its own node name")
		}
	}
}

// entrant is a session that has not joined yet: see enter.
func (s *Store) entrant(me record.Node, lease clientv3.LeaseID) *Session {
	return &Session{kv: s.kv, node: me, lease: lease, soon: make(chan struct{}, 1)}
}

func validNode(me record.Node) error {
	if err := record.ValidNode("node", me.Name); err != nil {
		return err
	}
	return record.Settings{Fencing: me.Fencing, Session: me.Session, AddressLease: me.AddressLease}.Validate()
}

// Registration is what etcd has of a node when it joins.
type Registration struct {
	Node                          *record.Node
	NodeRevision, SessionRevision int64
	lease                         clientv3.LeaseID // the session's; 0: there is none
	cluster                       int64            // the mod revision of the cluster's record
	certain                       bool             // the state is that of the etcd which answers
}

// Lookup reads what etcd has of a node.
func (d *Directory) Lookup(ctx context.Context, name string) (b Registration, err error) {
	t := kv.Transact("read node")
	node, session, cluster := t.Else(d.kv.Keys.Node(name)), t.Else(d.kv.Keys.Session(name)), t.Else(d.kv.Keys.Cluster())
	if err := d.kv.Query(ctx, kv.CallTime, t); err != nil {
		return b, err
	}
	b.cluster = cluster.Revision()
	if b.certain, err = Certain(d.kv.Keys, t.Header, cluster.KVs); err != nil {
		return b, err
	}
	if node.Found() {
		record, err := kv.Recovered(ctx, d.kv, record.NodeCodec, node.KVs[0])
		if err != nil {
			return b, err // whose the name is, is not known
		}
		b.Node, b.NodeRevision = &record, node.Revision()
	}
	if session.Found() {
		b.SessionRevision, b.lease = session.Revision(), clientv3.LeaseID(session.KVs[0].Lease)
	}
	return b, nil
}

// admit decides whether me may be the node.
func (s *Store) admit(ctx context.Context, me record.Node, b Registration) error {
	switch {
	case b.Node == nil, b.Node.Removed != nil:
		return nil
	case b.Node.Machine != me.Machine:
		return &NodeTakenError{Node: me.Name, Machine: b.Node.Machine, Address: b.Node.Address}
	case b.Node.Boot == me.Boot:
		return nil
	}
	for range signsOfLife {
		alive, err := s.renewed(ctx, b.lease, time.Duration(b.Node.Session)/renewals)
		if err != nil || !alive {
			return err
		}
	}
	return &NodeAliveError{Node: me.Name, Boot: b.Node.Boot}
}

// renewed watches an etcd lease for one renewal's interval and reports whether it was renewed meanwhile. Etcd tells the
// remaining time in whole seconds, rounded down, which takes two seconds more to be sure.
func (s *Store) renewed(ctx context.Context, id clientv3.LeaseID, interval time.Duration) (bool, error) {
	const grain = time.Second
	first, err := s.kv.Remaining(ctx, id)
	if err != nil {
		return false, err
	}
	began := time.Now() // once it was answered: etcd may have read it just before, however long ago it was asked
	for passed := time.Duration(0); first > 0 && passed < interval+2*grain; passed = time.Since(began) {
		if task.Pause(ctx, interval/4) != nil {
			return false, ctx.Err()
		}
		asked := time.Since(began)
		left, err := s.kv.Remaining(ctx, id)
		switch {
		case err != nil:
			return false, err
		case left <= 0:
			return false, nil
		case left > first+grain-asked:
			return true, nil
		}
	}
	return false, nil
}

// enter writes the node's key and the session's, if they are as before says. It also reads the node's status: no earlier
// session can write it from then on.
func (x *Session) enter(ctx context.Context, n int, b Registration) (joined bool, err error) {
	keys, name := x.kv.Keys, x.node.Name
	t := kv.Transact("join")
	t.If(kv.Unchanged(keys.Node(name), b.NodeRevision), kv.Unchanged(keys.Session(name), b.SessionRevision))
	t.If(kv.Unchanged(keys.Cluster(), b.cluster))
	t.Then(kv.Put(keys.Node(name), x.node), kv.Put(keys.Session(name), record.Presence{Since: x.kv.Clock.Wall()}, clientv3.WithLease(x.lease)))
	status := t.Read(keys.Status(name))
	if err := x.kv.Commit(ctx, n, t); err != nil || !t.Done {
		return false, err
	}
	x.generation, x.former, x.cluster, x.recovering = t.Revision(), b.NodeRevision, b.cluster, !b.certain
	x.status = status
	return true, nil
}
