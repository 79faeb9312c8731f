package lease

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Audit reads through everything, a page at a time, and returns what cannot be read, as many as most. The configuration is
// not among it: see Config.Bad.
func (s *adminStore) Audit(ctx context.Context, most int) (bad []*DamagedError, err error) {
	for from := s.kv.keys.prefix; ; {
		response, err := s.kv.read(ctx, scanTime, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.kv.keys.prefix)),
			clientv3.WithLimit(page))
		if err != nil {
			return nil, err
		}
		seen := new(State).with(s.kv.keys)
		for _, kv := range response.Kvs {
			seen.take(kv)
		}
		for _, each := range seen.Bad {
			e := damage(each.Reason)
			if e == nil {
				e = &DamagedError{Key: each.Text, At: each.Key, Revision: each.Revision, Err: each.Reason}
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
