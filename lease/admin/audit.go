package admin

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
)

// Audit reads through everything, a page at a time, and returns what cannot be read, as many as most. The configuration is
// not among it: see Config.Bad.
func Audit(ctx context.Context, c *kv.Client, most int) (bad []*kv.DamagedError, err error) {
	for from := c.Keys.Prefix; ; {
		response, err := c.Read(ctx, kv.ScanTime, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(c.Keys.Prefix)),
			clientv3.WithLimit(pageSize))
		if err != nil {
			return nil, err
		}
		seen := newState(c.Keys)
		for _, kv := range response.Kvs {
			seen.learn(kv)
		}
		for _, each := range seen.Bad {
			e := kv.Damage(each.Reason)
			if e == nil {
				e = &kv.DamagedError{Key: each.Text, At: each.Key, Revision: each.Revision, Err: each.Reason}
			}
			if bad = append(bad, e); len(bad) == most {
				return bad, nil
			}
		}
		if !response.More {
			return bad, nil
		}
		from = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
	}
}
