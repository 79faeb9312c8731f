package lease

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// list reads all records of a kind, of one pool if it is given, and fails where one of them cannot be read: it is for
// who decides by all of them. The revision is the one that they were read at.
func list[T any](ctx context.Context, s *Store, f form[T], pool ...string) (records []T, revision int64, err error) {
	response, err := s.scan(ctx, s.keys.Under(f.kind, pool...))
	if err != nil {
		return nil, 0, err
	}
	records, bad := f.readAll(s.keys, response.Kvs)
	if len(bad) > 0 {
		err = bad[0]
	}
	return records, response.Header.Revision, err
}

// readable is list, but passes over what cannot be read, and tells of it: one record that somebody has damaged keeps no
// node from settling, and no person from seeing the others.
func readable[T any](ctx context.Context, s *Store, f form[T], pool ...string) (records []T, err error) {
	response, err := s.scan(ctx, s.keys.Under(f.kind, pool...))
	if err != nil {
		return nil, err
	}
	records, bad := f.readAll(s.keys, response.Kvs)
	s.passOver(bad)
	return records, nil
}

// passOver tells of records that cannot be read.
func (s *Store) passOver(bad []*DamagedError) {
	for _, each := range bad {
		s.unreadable(each)
	}
}

// one reads one record; nil if there is none.
func one[T any](ctx context.Context, s *Store, f form[T], key string) (*T, error) {
	response, err := s.get(ctx, key)
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	record, err := f.read(s.keys, response.Kvs[0])
	return &record, err
}

// Nodes are all nodes that were ever there and were not removed, by name.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	nodes, err := readable(ctx, s, nodeForm)
	return slices.DeleteFunc(nodes, func(n Node) bool { return n.Removed != nil }), err
}

// Node is a node's record, or where that cannot be read what it was before; nil if there is none, or it was removed.
func (s *Store) Node(ctx context.Context, name string) (*Node, error) {
	response, err := s.get(ctx, s.keys.node(name))
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	n, err := recovered(ctx, s, nodeForm, response.Kvs[0])
	if err != nil || n.Removed != nil {
		return nil, err
	}
	return &n, nil
}

// BlockBefore is a block, or where its record cannot be read what it was before.
func (s *Store) BlockBefore(ctx context.Context, pool string, block netip.Prefix) (Block, error) {
	response, err := s.get(ctx, s.keys.block(pool, block))
	if err != nil || len(response.Kvs) == 0 {
		return Block{Pool: pool, Prefix: block}, err
	}
	b, err := recovered(ctx, s, blockForm, response.Kvs[0])
	if err == nil && b.Prefix != block {
		_, err = s.keys.readBlock(pool, block, response.Kvs)
	}
	return b, err
}

// Sessions are the names of the nodes that have a session.
func (s *Store) Sessions(ctx context.Context) ([]string, error) {
	prefix := s.keys.Under(KindSession)
	response, err := s.scan(ctx, prefix, clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	names := make([]string, len(response.Kvs))
	for i, kv := range response.Kvs {
		names[i] = strings.TrimPrefix(string(kv.Key), prefix)
	}
	return names, nil
}

// Statuses are what the nodes say of themselves, by name.
func (s *Store) Statuses(ctx context.Context) (map[string]Status, error) {
	all, err := readable(ctx, s, statusForm)
	statuses := make(map[string]Status, len(all))
	for _, each := range all {
		statuses[each.Node] = each
	}
	return statuses, err
}

// Blocks are all that have an owner, by pool and address.
func (s *Store) Blocks(ctx context.Context) ([]Block, error) {
	blocks, err := readable(ctx, s, blockForm)
	sortBy(blocks, func(b Block) (string, netip.Addr) { return b.Pool, b.Prefix.Addr() })
	return blocks, err
}

// Assignments are all that were published, by pool and address.
func (s *Store) Assignments(ctx context.Context) ([]Assignment, error) {
	assignments, err := readable(ctx, s, assignmentForm)
	sortBy(assignments, func(a Assignment) (string, netip.Addr) { return a.Pool, a.Address })
	return assignments, err
}

// Assignment is that of an address; nil if there is none.
func (s *Store) Assignment(ctx context.Context, pool string, a netip.Addr) (*Assignment, error) {
	return one(ctx, s, assignmentForm, s.keys.assignment(pool, a))
}

// Reservations are all of the cluster's, by pool and address.
func (s *Store) Reservations(ctx context.Context) ([]Reservation, error) {
	reservations, err := readable(ctx, s, reservationForm)
	sortBy(reservations, func(r Reservation) (string, netip.Addr) { return r.Pool, r.Address })
	return reservations, err
}

// Reservation is that of an address; nil if there is none.
func (s *Store) Reservation(ctx context.Context, pool string, a netip.Addr) (*Reservation, error) {
	return one(ctx, s, reservationForm, s.keys.reservation(pool, a))
}

// sortBy puts records into the order in which people count addresses.
func sortBy[T any](records []T, by func(T) (string, netip.Addr)) {
	slices.SortFunc(records, func(a, b T) int {
		poolA, addrA := by(a)
		poolB, addrB := by(b)
		if c := strings.Compare(poolA, poolB); c != 0 {
			return c
		}
		return addrA.Compare(addrB)
	})
}
