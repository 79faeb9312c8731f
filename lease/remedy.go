package lease

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Remedy is one transaction that mends what a State shows. It is carried out only while every key that it names, to
// write it, to delete it or because the decision rests on it, is as the State has it; a key that the State does not
// have is to be absent still.
type Remedy struct {
	Same   []Key
	Delete []string // as they are written: also what cannot be read is deleted
	Put    []Record
}

// A Record is what is to be at a key.
type Record struct {
	Key   Key
	Value any // one of the records
}

// Mend carries a remedy out, and reports whether it did: else something that it rests upon has changed since.
func (s *adminStore) Mend(ctx context.Context, state *State, r Remedy) (done bool, err error) {
	t := transact("mend")
	compared := map[string]bool{}
	compare := func(key string) {
		if !compared[key] {
			compared[key] = true
			t.If(unchanged(key, state.revisions[key]))
		}
	}
	for _, key := range r.Same {
		compare(s.kv.keys.Of(key))
	}
	for _, key := range r.Delete {
		compare(key)
		t.Then(clientv3.OpDelete(key))
	}
	for _, record := range r.Put {
		key := s.kv.keys.Of(record.Key)
		compare(key)
		t.Then(put(key, record.Value))
	}
	// A try whose answer was lost makes the next one fail: what is there then is found when it is looked again.
	if err := s.kv.settle(ctx, t); err != nil {
		return false, fmt.Errorf("lease: mend: %w", err)
	}
	return t.Done, nil
}
