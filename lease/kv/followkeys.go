package kv

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// FollowKeys calls f with what a few single keys have, and then with whatever becomes of each, until ctx ends; its error is ctx's.
// f gets nil where a key is not there, and the incarnation of the store that it was read in. It is called again with what it
// knows when etcd is read again.
//
// It is for keys below which others lie: of a prefix that held those, too, every follower would get all of them.
func (c *Client) FollowKeys(ctx context.Context, keys []string, f func(key string, kv *mvccpb.KeyValue, incarnation int)) error {
	return c.EachIncarnation(ctx, func(ctx context.Context, incarnation int) {
		within := func(key string, kv *mvccpb.KeyValue) {
			c.Incarnation.Within(ctx, incarnation, func() { f(key, kv, incarnation) })
		}
		if revision, err := c.readKeys(ctx, keys, within); err == nil {
			c.watchKeys(ctx, keys, revision, within)
		}
	})
}

// readKeys gives f what the keys have now, and returns the revision that it was read at.
func (c *Client) readKeys(ctx context.Context, keys []string, f func(string, *mvccpb.KeyValue)) (int64, error) {
	t := Transact("read followed keys")
	reads := make([]*Read, len(keys))
	for i, key := range keys {
		reads[i] = t.Else(key)
	}
	if err := c.Query(ctx, CallTime, t); err != nil {
		return 0, err
	}
	for i, key := range keys {
		if reads[i].Found() {
			f(key, reads[i].KVs[0])
		} else {
			f(key, nil)
		}
	}
	return t.Revision(), nil
}

// watchKeys returns when one of the watches or ctx ends.
func (c *Client) watchKeys(ctx context.Context, keys []string, revision int64, f func(string, *mvccpb.KeyValue)) {
	client, err := c.Etcd(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	responses := make(chan clientv3.WatchResponse)
	for _, key := range keys {
		watch := client.Watch(ctx, key, clientv3.WithRev(revision+1))
		go func() {
			defer cancel()
			for response := range watch {
				select {
				case responses <- response:
				case <-ctx.Done():
				}
			}
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case response := <-responses:
			if response.Err() != nil {
				return
			}
			for _, e := range response.Events {
				if e.Type == mvccpb.PUT {
					f(string(e.Kv.Key), e.Kv)
				} else {
					f(string(e.Kv.Key), nil)
				}
			}
		}
	}
}
