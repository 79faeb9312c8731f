package session

import (
	"context"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// FollowNodes follows the nodes, each with its generation: see kv.Follow.
func (s *Store) FollowNodes(ctx context.Context, f func(kv.Update[record.Node])) error {
	return kv.Follow(ctx, s.kv, record.NodeCodec, func(u kv.Update[record.Node]) {
		s.deleted.apply(u)
		f(u)
	})
}

// FollowSessions follows the nodes' sessions: see kv.Follow.
func (d *Directory) FollowSessions(ctx context.Context, f func(kv.Update[record.Presence])) error {
	return kv.Follow(ctx, d.kv, record.SessionCodec, f)
}

// Nodes are all nodes that were ever there and were not removed, by name.
func (d *Directory) Nodes(ctx context.Context) ([]record.Node, error) {
	nodes, err := kv.Readable(ctx, d.kv, record.NodeCodec)
	return slices.DeleteFunc(nodes, func(n record.Node) bool { return n.Removed != nil }), err
}

// Node is a node's record, or where that cannot be read what it was before; nil if there is none, or it was removed.
func (d *Directory) Node(ctx context.Context, name string) (*record.Node, error) {
	response, err := d.kv.Get(ctx, d.kv.Keys.Node(name))
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	n, err := kv.Recovered(ctx, d.kv, record.NodeCodec, response.Kvs[0])
	if err != nil || n.Removed != nil {
		return nil, err
	}
	return &n, nil
}

// Sessions are the names of the nodes that have a session.
func (d *Directory) Sessions(ctx context.Context) ([]string, error) {
	prefix := d.kv.Keys.Under(kv.KindSession)
	response, err := d.kv.Scan(ctx, prefix, clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	names := make([]string, len(response.Kvs))
	for i, kv := range response.Kvs {
		names[i] = strings.TrimPrefix(string(kv.Key), prefix)
	}
	return names, nil
}
