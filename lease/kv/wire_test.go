package kv_test

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// event is a change of a key at a revision.
func event(key, value string, revision int64, deleted bool) *clientv3.Event {
	e := &clientv3.Event{Type: mvccpb.PUT, Kv: &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision}}
	if deleted {
		e.PrevKv = &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: revision - 1}
		e.Type, e.Kv.Value = mvccpb.DELETE, nil
	}
	return e
}
