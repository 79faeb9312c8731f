package admin

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
)

// A Repair is one transaction that repairs what a State shows. It is carried out only while every key that it names, to write
// it, to delete it or because the decision relies on it, is as the State has it; a key that the State does not have has to be
// absent still.
type Repair struct {
	Same   []kv.Key
	Delete []string // as they are written: also what cannot be read is deleted
	Put    []Record
}

// A Record is what is to be at a key.
type Record struct {
	Key   kv.Key
	Value any // one of the records
}

// Repair carries a repair out, and reports whether it did: else something that it relies on has changed since.
func (s *Store) Repair(ctx context.Context, state *State, r Repair) (done bool, err error) {
	t := kv.Transact("mend")
	compared := map[string]bool{}
	compare := func(key string) {
		if !compared[key] {
			compared[key] = true
			t.If(kv.Unchanged(key, state.revisions[key]))
		}
	}
	for _, key := range r.Same {
		compare(s.kv.Keys.Of(key))
	}
	for _, key := range r.Delete {
		compare(key)
		t.Then(clientv3.OpDelete(key))
	}
	for _, record := range r.Put {
		key := s.kv.Keys.Of(record.Key)
		compare(key)
		t.Then(kv.Put(key, record.Value))
	}
	// A try whose answer was lost makes the next one fail: the next look finds what is there then.
	if err := s.kv.Execute(ctx, t); err != nil {
		return false, fmt.Errorf("lease: repair: %w", err)
	}
	return t.Done, nil
}
