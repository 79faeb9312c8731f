package config

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
)

// Whatever is written to whatever key: the configuration that is read of it can be built upon.
func FuzzNoValueBreaksTheConfiguration(f *testing.F) {
	for _, seed := range []struct{ key, value string }{
		{"config/revision", `{"changes":3,"pools":1,"settings":true,"former":[{"address":"10.0.0.1","since":4}]}`},
		{"config/settings", `{"operations":["read","insert","delete"],"fencing":"strict","session":"15s","addressLease":"1h0m0s"}`},
		{"config/history/3", `{"number":3,"who":"x","when":"2026-01-01T00:00:00Z","changes":[],"before":{},"after":{}}`},
		{"config/pools/p", `{"name":"p","cidrs":["10.42.0.0/16","fd00::/64"],"gateways":["10.42.0.1"],"stateful":["10.42.0.0/20"],"exclude":["10.42.9.0-10.42.9.7"],"blockSize":{"v4":26,"v6":122},"reuse":"10m0s","cooldown":"30s"}`},
	} {
		f.Add(seed.key, seed.value, int64(7))
	}
	keys := kv.NewKeys("")
	f.Fuzz(func(t *testing.T, key, value string, revision int64) {
		pair := &mvccpb.KeyValue{Key: []byte("/berth/v1/" + key), Value: []byte(value), ModRevision: revision, Version: 1}
		r := readConfig(keys, []*mvccpb.KeyValue{pair})
		r.complete(&memory{pools: map[string]*allocator.Pool{}, whole: true})
		if err := r.Config.validate(); err != nil {
			t.Errorf("the configuration that it makes cannot be: %v", err)
		}
	})
}
