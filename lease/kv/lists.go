package kv

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// List reads all records of a kind, of one pool if it is given, and fails where one of them cannot be read: it is for a
// decision that needs all of them. The revision is etcd's at the read.
func List[T any](ctx context.Context, c *Client, codec Codec[T], pool ...string) (records []T, revision int64, err error) {
	response, err := c.Scan(ctx, c.Keys.Under(codec.Kind, pool...))
	if err != nil {
		return nil, 0, err
	}
	records, bad := codec.ReadAll(c.Keys, response.Kvs)
	if len(bad) > 0 {
		err = bad[0]
	}
	return records, response.Header.Revision, err
}

// Readable is List, but skips what cannot be read, and calls Client.Unreadable with it: one damaged record keeps no node from
// settling, and no person from seeing the others.
func Readable[T any](ctx context.Context, c *Client, codec Codec[T], pool ...string) (records []T, err error) {
	response, err := c.Scan(ctx, c.Keys.Under(codec.Kind, pool...))
	if err != nil {
		return nil, err
	}
	records, bad := codec.ReadAll(c.Keys, response.Kvs)
	c.passOver(bad)
	return records, nil
}

func (c *Client) passOver(bad []*DamagedError) {
	for _, each := range bad {
		c.Unreadable(each)
	}
}

// One reads one record; nil if there is none.
func One[T any](ctx context.Context, c *Client, codec Codec[T], key string) (*T, error) {
	response, err := c.Get(ctx, key)
	if err != nil || len(response.Kvs) == 0 {
		return nil, err
	}
	record, err := codec.Read(c.Keys, response.Kvs[0])
	return &record, err
}

// Each calls f with every record of a kind that can be read, and counts those that cannot.
func Each[T any](ctx context.Context, c *Client, codec Codec[T], f func(*mvccpb.KeyValue, T)) (unread int, err error) {
	response, err := c.Scan(ctx, c.Keys.Under(codec.Kind))
	if err != nil {
		return 0, err
	}
	for _, kv := range response.Kvs {
		record, err := codec.Read(c.Keys, kv)
		if err != nil {
			c.Unreadable(Damage(err))
			unread++
			continue
		}
		f(kv, record)
	}
	return unread, nil
}
