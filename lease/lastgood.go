package lease

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// formerTries bounds how many damaged values of one key are gone back over.
const formerTries = 16

// former is what a key had last that could be read, before it came to be as kv has it; nil: etcd does not keep it any
// more, or there was nothing. Whoever changes a record compares what he has read, and nobody builds upon what he cannot
// read: so since the value that is found nothing but the damage has happened to the key. That makes it safe to put back.
func (s *Store) former(ctx context.Context, kv *mvccpb.KeyValue, readable func(*mvccpb.KeyValue) bool) (*mvccpb.KeyValue, error) {
	key, at := string(kv.Key), kv.ModRevision
	for range formerTries {
		response, err := s.read(ctx, callTime, key, clientv3.WithRev(at-1))
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return nil, nil
		case err != nil:
			return nil, err
		case len(response.Kvs) == 0:
			return nil, nil
		case readable(response.Kvs[0]):
			return response.Kvs[0], nil
		}
		at = response.Kvs[0].ModRevision
	}
	return nil, nil
}

// recovered reads a record, and where it is damaged what it was before; the error is that of the damage where that is not
// known.
func recovered[T any](ctx context.Context, s *Store, f form[T], kv *mvccpb.KeyValue) (T, error) {
	record, err := f.read(s.keys, kv)
	if err == nil {
		return record, nil
	}
	was, failed := s.former(ctx, kv, func(kv *mvccpb.KeyValue) bool { _, err := f.read(s.keys, kv); return err == nil })
	switch {
	case failed != nil:
		return record, errors.Join(err, failed)
	case was == nil:
		return record, err
	}
	return f.read(s.keys, was)
}

// Former is what was at the key of a bad record last that could be read, as it was written; empty: that is not known.
func (s *Store) Former(ctx context.Context, bad BadKey) (string, error) {
	if bad.Key.Kind == "" || bad.Revision == 0 {
		return "", nil
	}
	readable := func(kv *mvccpb.KeyValue) bool { return new(State).with(s.keys).takeRecord(bad.Key, kv) == nil }
	was, err := s.former(ctx, &mvccpb.KeyValue{Key: []byte(bad.Text), ModRevision: bad.Revision}, readable)
	if err != nil || was == nil {
		return "", err
	}
	return string(was.Value), nil
}
