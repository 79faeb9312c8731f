package kv

import (
	"encoding/json"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Put writes a record without what its key says.
func Put(key string, record any, options ...clientv3.OpOption) clientv3.Op {
	return clientv3.OpPut(key, Encode(record), options...)
}

// A keyed record has fields that its key says: they are left out when it is written.
type keyed interface{ WithoutKey() any }

// Encode is a record as it is written.
func Encode(record any) string {
	if k, ok := record.(keyed); ok {
		record = k.WithoutKey()
	}
	text, _ := json.Marshal(record) // records hold nothing that JSON could not
	return string(text)
}
