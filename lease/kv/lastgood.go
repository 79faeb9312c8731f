package kv

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// FormerTries bounds how many damaged values of one key are gone back over.
const FormerTries = 16

// Former is what a key had last that could be read, before it came to be as kv has it; nil: etcd does not keep it any
// more, or there was nothing. Whoever changes a record compares what he has read, and nobody builds upon what he cannot
// read: so since the value that is found nothing but the damage has happened to the key. That makes it safe to put back.
func (c *Client) Former(ctx context.Context, kv *mvccpb.KeyValue, readable func(*mvccpb.KeyValue) bool) (*mvccpb.KeyValue, error) {
	key, at := string(kv.Key), kv.ModRevision
	for range FormerTries {
		response, err := c.Read(ctx, CallTime, key, clientv3.WithRev(at-1))
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

// Recovered reads a record, and where it is damaged what it was before; the error is that of the damage where that is not
// known.
func Recovered[T any](ctx context.Context, c *Client, f Codec[T], kv *mvccpb.KeyValue) (T, error) {
	record, err := f.Read(c.Keys, kv)
	if err == nil {
		return record, nil
	}
	was, failed := c.Former(ctx, kv, func(kv *mvccpb.KeyValue) bool { _, err := f.Read(c.Keys, kv); return err == nil })
	switch {
	case failed != nil:
		return record, errors.Join(err, failed)
	case was == nil:
		return record, err
	}
	return f.Read(c.Keys, was)
}
