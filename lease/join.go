package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// joinTries bounds how often another agent of the same name may come between.
const joinTries = 5

// Join makes me a live node: one transaction rewrites the node's key and puts its session's under a fresh etcd lease.
// From then on every transaction of an earlier session of the node fails. It fails with *NodeTakenError if the name
// belongs to another machine, and with *NodeAliveError if another boot of the same machine keeps its session alive; to
// find that out it may watch for as long as two renewals take.
func (s *Store) Join(ctx context.Context, me Node) (*Session, error) {
	session, err := s.join(ctx, me)
	if err != nil {
		return nil, fmt.Errorf("lease: join as node %q: %w", me.Name, err)
	}
	return session, nil
}

func (s *Store) join(ctx context.Context, me Node) (session *Session, err error) {
	if err := validNode(me); err != nil {
		return nil, err
	}
	x := &Session{store: s, node: me, hurry: make(chan struct{}, 1)}
	defer func() {
		if session == nil && x.lease != 0 {
			s.revoke(x.lease)
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
			if x.lease, err = s.grant(ctx, time.Duration(me.Session)); err != nil {
				return nil, err
			}
		}
		joined, err := x.enter(ctx, n, before)
		switch {
		case joined:
			if before.lease != 0 && before.lease != x.lease {
				s.revoke(before.lease) // it holds no key any more
			}
			return x, nil
		case err != nil && !again(ctx, n, err):
			return nil, err
		case n == joinTries:
			return nil, errors.New("another agent keeps joining under the same name: give each its own node name")
		}
	}
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

func (s *Store) lookAtNode(ctx context.Context, name string) (b before, err error) {
	response, err := s.consult(ctx, callTime, "read node",
		clientv3.OpGet(s.keys.node(name)), clientv3.OpGet(s.keys.session(name)), clientv3.OpGet(s.keys.cluster()))
	if err != nil {
		return b, err
	}
	b.cluster = revisionOf(found(response, 2))
	if b.certain, err = s.certain(response.Header, found(response, 2)); err != nil {
		return b, err
	}
	if node := found(response, 0); len(node) > 0 {
		record, err := recovered(ctx, s, nodeForm, node[0])
		if err != nil {
			return b, err // whose the name is, is not known
		}
		b.node, b.nodeRevision = &record, node[0].ModRevision
	}
	if session := found(response, 1); len(session) > 0 {
		b.sessionRevision, b.lease = session[0].ModRevision, clientv3.LeaseID(session[0].Lease)
	}
	return b, nil
}

// admit decides whether me may be the node.
func (s *Store) admit(ctx context.Context, me Node, b before) error {
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
func (s *Store) renewed(ctx context.Context, id clientv3.LeaseID, interval time.Duration) (bool, error) {
	const grain = time.Second
	began := time.Now()
	first, err := s.remaining(ctx, id)
	if err != nil {
		return false, err
	}
	for passed := time.Duration(0); first > 0 && passed < interval+2*grain; passed = time.Since(began) {
		if err := pause(ctx, interval/4); err != nil {
			return false, err
		}
		asked := time.Since(began)
		left, err := s.remaining(ctx, id)
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

// remaining is how long an etcd lease lasts yet, in whole seconds; 0 or less: it is over.
func (s *Store) remaining(ctx context.Context, id clientv3.LeaseID) (time.Duration, error) {
	client, err := s.etcd()
	if err != nil {
		return 0, err
	}
	response, err := insist(ctx, s, callTime, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return client.TimeToLive(ctx, id)
	})
	s.heard(client, "read a lease", err)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, s.failed("watch the former session's lease", err)
	}
	return time.Duration(response.TTL) * time.Second, nil
}

func (s *Store) grant(ctx context.Context, session time.Duration) (clientv3.LeaseID, error) {
	client, err := s.etcd()
	if err != nil {
		return 0, err
	}
	// One that a lost answer granted holds no key, and ends by itself.
	response, err := insist(ctx, s, callTime, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
		return client.Grant(ctx, int64((session+time.Second-1)/time.Second))
	})
	s.heard(client, "grant a lease", err)
	if err != nil {
		return 0, s.failed(fmt.Sprintf("grant a lease of %s", session), err)
	}
	return response.ID, nil
}

// revoke ends a lease that no session uses. Where it cannot, the lease ends by itself.
func (s *Store) revoke(id clientv3.LeaseID) {
	client, err := s.etcd()
	if err != nil {
		return
	}
	_, _ = insist(context.Background(), s, callTime, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return client.Revoke(ctx, id)
	})
}

// enter writes the node's key and the session's, if they are as before says. It also learns the publishing counter:
// no earlier session can move it from then on.
func (x *Session) enter(ctx context.Context, n int, b before) (joined bool, err error) {
	keys, name := x.store.keys, x.node.Name
	response, err := x.store.commit(ctx, n, "join", transaction{
		If: []clientv3.Cmp{
			unchanged(keys.node(name), b.nodeRevision), unchanged(keys.session(name), b.sessionRevision), unchanged(keys.cluster(), b.cluster),
		},
		Then: []clientv3.Op{
			put(keys.node(name), x.node),
			put(keys.session(name), Presence{Since: time.Now().UTC()}, clientv3.WithLease(x.lease)),
			clientv3.OpGet(keys.status(name)),
		},
	})
	if err != nil || !response.Succeeded {
		return false, err
	}
	x.generation, x.former, x.cluster, x.recovering = response.Header.Revision, b.nodeRevision, b.cluster, !b.certain
	x.learnCounter(found(response, 2))
	return true, nil
}

// learnCounter takes in the node's status as it is in etcd. One that cannot be read is overwritten.
func (x *Session) learnCounter(kvs []*mvccpb.KeyValue) {
	x.counter, x.published = revisionOf(kvs), Status{}
	if len(kvs) > 0 {
		if status, err := statusForm.read(x.store.keys, kvs[0]); err == nil {
			x.published = status
		}
	}
	x.batch = max(x.batch, x.published.Batch)
}
