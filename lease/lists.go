package lease

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// list reads all records of a kind, of one pool if it is given, and fails where one of them cannot be read: it is for
// who decides by all of them. The revision is the one that they were read at.
func list[T any](ctx context.Context, c *Client, f codec[T], pool ...string) (records []T, revision int64, err error) {
	response, err := c.scan(ctx, c.keys.Under(f.kind, pool...))
	if err != nil {
		return nil, 0, err
	}
	records, bad := f.readAll(c.keys, response.Kvs)
	if len(bad) > 0 {
		err = bad[0]
	}
	return records, response.Header.Revision, err
}

// readable is list, but passes over what cannot be read, and tells of it: one record that somebody has damaged keeps no
// node from settling, and no person from seeing the others.
func readable[T any](ctx context.Context, c *Client, f codec[T], pool ...string) (records []T, err error) {
	response, err := c.scan(ctx, c.keys.Under(f.kind, pool...))
	if err != nil {
		return nil, err
	}
	records, bad := f.readAll(c.keys, response.Kvs)
	c.passOver(bad)
	return records, nil
}

// passOver tells of records that cannot be read.
func (c *Client) passOver(bad []*DamagedError) {
	for _, each := range bad {
		c.unreadable(each)
	}
}

// one reads one record; nil if there is none.
func one[T any](ctx context.Context, c *Client, f codec[T], key string) (*T, error) {
	response, err := c.get(ctx, key)
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	record, err := f.read(c.keys, response.Kvs[0])
	return &record, err
}

// each calls f with every record of a kind that can be read.
func each[T any](ctx context.Context, c *Client, codec codec[T], f func(*mvccpb.KeyValue, T)) error {
	response, err := c.scan(ctx, c.keys.Under(codec.kind))
	if err != nil {
		return err
	}
	for _, kv := range response.Kvs {
		record, err := codec.read(c.keys, kv)
		if err != nil {
			c.unreadable(damage(err))
			continue
		}
		f(kv, record)
	}
	return nil
}
