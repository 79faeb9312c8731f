package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// joinTries bounds how often another agent of the same name may come between.
const joinTries = 5

// Join makes me a live node: one transaction rewrites the node's key and puts its session's under a fresh etcd lease.
// From then on every transaction of an earlier session of the node fails. It fails with *NodeTakenError if the name
// belongs to another machine, and with *NodeAliveError if another boot of the same machine keeps its session alive; to
// find that out it may watch for as long as two renewals take.
func (s *sessionStore) Join(ctx context.Context, me Node) (*Session, error) {
	session, err := s.join(ctx, me)
	if err != nil {
		return nil, fmt.Errorf("lease: join as node %q: %w", me.Name, err)
	}
	return session, nil
}

func (s *sessionStore) join(ctx context.Context, me Node) (session *Session, err error) {
	if err := validNode(me); err != nil {
		return nil, err
	}
	x := s.entrant(me, 0)
	defer func() {
		if session == nil && x.lease != 0 {
			s.kv.revoke(x.lease)
		}
	}()
	for n := 1; ; n++ {
		before, err := s.lookAtNode(ctx, me.Name)
		if err != nil {
			return nil, err
		}
		if err := s.admit(ctx, me, before); err != nil {
			return nil, err
		}
		if x.lease == 0 { // only now: admit may watch for longer than it lasts
			if x.lease, err = s.kv.grant(ctx, time.Duration(me.Session)); err != nil {
				return nil, err
			}
		}
		joined, err := x.enter(ctx, n, before)
		switch {
		case joined:
			if before.lease != 0 && before.lease != x.lease {
				s.kv.revoke(before.lease) // it holds no key any more
			}
			return x, nil
		case err != nil && !again(ctx, n, err):
			return nil, err
		case n == joinTries:
			return nil, errors.New("another agent keeps joining under the same name: give each its own node name")
		}
	}
}

// entrant is a session that has not joined yet: see enter.
func (s *sessionStore) entrant(me Node, lease clientv3.LeaseID) *Session {
	return &Session{kv: s.kv, now: s.now, node: me, lease: lease, hurry: make(chan struct{}, 1)}
}

func validNode(me Node) error {
	if err := ValidNode("node", me.Name); err != nil {
		return err
	}
	return Settings{Fencing: me.Fencing, Session: me.Session, AddressLease: me.AddressLease}.Validate()
}

// before is what etcd has of a node when it joins.
type before struct {
	node                          *Node
	nodeRevision, sessionRevision int64
	lease                         clientv3.LeaseID // the session's; 0: there is none
	cluster                       int64            // the mod revision of the cluster's record
	certain                       bool             // the state is that of the etcd which answers
}

func (s *sessionStore) lookAtNode(ctx context.Context, name string) (b before, err error) {
	t := transact("read node")
	node, session, cluster := t.Else(s.kv.keys.node(name)), t.Else(s.kv.keys.session(name)), t.Else(s.kv.keys.cluster())
	if err := s.kv.consult(ctx, callTime, t); err != nil {
		return b, err
	}
	b.cluster = cluster.revision()
	if b.certain, err = certain(s.kv.keys, t.header, cluster.kvs); err != nil {
		return b, err
	}
	if node.there() {
		record, err := recovered(ctx, s.kv, nodeCodec, node.kvs[0])
		if err != nil {
			return b, err // whose the name is, is not known
		}
		b.node, b.nodeRevision = &record, node.revision()
	}
	if session.there() {
		b.sessionRevision, b.lease = session.revision(), clientv3.LeaseID(session.kvs[0].Lease)
	}
	return b, nil
}

// admit decides whether me may be the node.
func (s *sessionStore) admit(ctx context.Context, me Node, b before) error {
	switch {
	case b.node == nil, b.node.Removed != nil:
		return nil
	case b.node.Machine != me.Machine:
		return &NodeTakenError{Node: me.Name, Machine: b.node.Machine, Address: b.node.Address}
	case b.node.Boot == me.Boot || b.lease == 0:
		return nil
	}
	for range 2 { // once may be a new leader's doing: it gives every lease its whole time
		alive, err := s.renewed(ctx, b.lease, time.Duration(b.node.Session)/renewals)
		if err != nil || !alive {
			return err
		}
	}
	return &NodeAliveError{Node: me.Name, Boot: b.node.Boot}
}

// renewed watches an etcd lease for one renewal's interval and reports whether it was renewed meanwhile. Etcd tells the
// remaining time in whole seconds, rounded down, which takes two seconds more to be sure.
func (s *sessionStore) renewed(ctx context.Context, id clientv3.LeaseID, interval time.Duration) (bool, error) {
	const grain = time.Second
	began := time.Now()
	first, err := s.kv.remaining(ctx, id)
	if err != nil {
		return false, err
	}
	for passed := time.Duration(0); first > 0 && passed < interval+2*grain; passed = time.Since(began) {
		if err := pause(ctx, interval/4); err != nil {
			return false, err
		}
		asked := time.Since(began)
		left, err := s.kv.remaining(ctx, id)
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
func (x *Session) enter(ctx context.Context, n int, b before) (joined bool, err error) {
	keys, name := x.kv.keys, x.node.Name
	t := transact("join")
	t.If(unchanged(keys.node(name), b.nodeRevision), unchanged(keys.session(name), b.sessionRevision), unchanged(keys.cluster(), b.cluster))
	t.Then(put(keys.node(name), x.node), put(keys.session(name), Presence{Since: time.Now().UTC()}, clientv3.WithLease(x.lease)))
	status := t.Read(keys.status(name))
	if err := x.kv.commit(ctx, n, t); err != nil || !t.Done {
		return false, err
	}
	x.generation, x.former, x.cluster, x.recovering = t.revision(), b.nodeRevision, b.cluster, !b.certain
	x.status = status
	return true, nil
}
