package lease

import (
	"context"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// FollowNodes is FollowBlocks for nodes, each with the mod revision of its key.
func (s *sessionStore) FollowNodes(ctx context.Context, f func(Update[Node])) error {
	return follow(ctx, s.kv, nodeCodec, func(u Update[Node]) {
		s.deleted.take(u)
		f(u)
	})
}

// FollowSessions is FollowBlocks for the nodes' sessions.
func (s *sessionStore) FollowSessions(ctx context.Context, f func(Update[Presence])) error {
	return follow(ctx, s.kv, sessionCodec, f)
}

// Nodes are all nodes that were ever there and were not removed, by name.
func (s *sessionStore) Nodes(ctx context.Context) ([]Node, error) {
	nodes, err := readable(ctx, s.kv, nodeCodec)
	return slices.DeleteFunc(nodes, func(n Node) bool { return n.Removed != nil }), err
}

// Node is a node's record, or where that cannot be read what it was before; nil if there is none, or it was removed.
func (s *sessionStore) Node(ctx context.Context, name string) (*Node, error) {
	response, err := s.kv.get(ctx, s.kv.keys.node(name))
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	n, err := recovered(ctx, s.kv, nodeCodec, response.Kvs[0])
	if err != nil || n.Removed != nil {
		return nil, err
	}
	return &n, nil
}

// Sessions are the names of the nodes that have a session.
func (s *sessionStore) Sessions(ctx context.Context) ([]string, error) {
	prefix := s.kv.keys.Under(KindSession)
	response, err := s.kv.scan(ctx, prefix, clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	names := make([]string, len(response.Kvs))
	for i, kv := range response.Kvs {
		names[i] = strings.TrimPrefix(string(kv.Key), prefix)
	}
	return names, nil
}
