package sim

import (
	"net/netip"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// owned is what etcd says of stateless addresses: who owns their blocks, and who has them. What is damaged is nobody's.
type owned struct {
	blocks      map[string]ownedBlock // by key
	assignments map[string]assigned
}

type ownedBlock struct {
	record.Block
	since time.Time
}

// assigned is who has an address, and since when.
type assigned struct {
	node, container string
	since           time.Time
}

func newOwned() owned { return owned{map[string]ownedBlock{}, map[string]assigned{}} }

// see learns of a change of etcd's.
func (o *owned) see(e *clientv3.Event) {
	key, put := string(e.Kv.Key), e.Type == clientv3.EventTypePut
	switch {
	case strings.HasPrefix(key, keys.Under(kv.KindBlock)):
		b, err := record.BlockCodec.Read(keys, e.Kv)
		if delete(o.blocks, key); put && err == nil {
			o.blocks[key] = ownedBlock{b, time.Now()}
		}
	case strings.HasPrefix(key, keys.Under(kv.KindAssignment)):
		a, err := record.AssignmentCodec.Read(keys, e.Kv)
		if delete(o.assignments, key); put && err == nil {
			o.assignments[key] = assigned{a.Node, a.Attachment.Container, time.Now()}
		}
	}
}

// owner is the node that owns the part in which an address lies, and since when the block is as it is.
func (o *observer) owner(a netip.Addr) (node string, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.owned.blocks {
		for _, p := range b.Parts {
			if p.Prefix.Contains(a) {
				return p.Owner, b.since
			}
		}
	}
	return "", time.Time{}
}

// assigned is who has a stateless address.
func (o *observer) assigned(pool string, a netip.Addr) assigned {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owned.assignments[keys.Assignment(pool, a)]
}
