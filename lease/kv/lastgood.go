package kv

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// FormerTries bounds how many damaged values of one key are skipped on the way back.
const FormerTries = 16

// Former is the last readable value of a key before the one in kv; nil: there was none, or etcd has compacted it. It is safe to
// put back: whoever changes a record compares what he has read, and nobody changes what he cannot read, so since that value
// nothing but the damage has happened to the key.
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

// Recovered reads a record or, where it is damaged, its former value. Where there is none the error is that of the damage; where
// etcd does not say, it is none of the record's.
func Recovered[T any](ctx context.Context, c *Client, codec Codec[T], kv *mvccpb.KeyValue) (T, error) {
	record, err := codec.Read(c.Keys, kv)
	if err == nil {
		return record, nil
	}
	was, failed := c.Former(ctx, kv, func(kv *mvccpb.KeyValue) bool { _, err := codec.Read(c.Keys, kv); return err == nil })
	switch {
	case failed != nil:
		return record, fmt.Errorf("lease: the record at %s is damaged, and its former value cannot be read now: %w", kv.Key, failed)
	case was == nil:
		return record, err
	}
	return codec.Read(c.Keys, was)
}
