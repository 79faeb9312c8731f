package lab

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
)

// Config is the present configuration.
func (f *Fleet) Config() *config.Config {
	f.Helper()
	c, err := f.S.Config.Read(f.Context())
	f.Check(err)
	return c
}

// A Fleet is two nodes with two stateless containers each, and a stateful one on the first.
type Fleet struct {
	*Lab
	S        *Store
	Revision int64
	Nodes    map[string]*Joined
	Blocks   map[string]record.Block
}

// NewFleet has n1 and n2, each with a block and two containers.
func NewFleet(t *testing.T) *Fleet {
	f := &Fleet{Lab: New(t), Nodes: map[string]*Joined{}, Blocks: map[string]record.Block{}}
	f.S = f.Store()
	config := f.Apply(f.S, Smallest())
	f.Revision = config.Revision
	for name, at := range map[string]string{"n1": "10.42.64.0/26", "n2": "10.42.65.0/26"} {
		x := f.Join(f.S, name)
		b, err := block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], Prefix(at))
		f.Check(err)
		f.Keep(x)
		f.Nodes[name], f.Blocks[name] = x, b
		first := b.Prefix.Addr().Next()
		f.Report(name, record.Status{Applied: f.Revision, Revision: f.Revision, Containers: 2},
			record.Assignment{Pool: "default", Address: first, Attachment: Attachment(name + "-aa"), App: allocator.App{Namespace: "ns",
				Name: "web"},
				Node: name, Since: time.Now()},
			record.Assignment{Pool: "default", Address: first.Next(), Attachment: Attachment(name + "-ab"), Node: name, Since: time.Now()})
	}
	request := reservation.Request{
		Pool: config.Pools["default"], PoolRevision: config.PoolRevisions["default"], Identity: Identity("db", 0), Attachment: Attachment("db"),
	}
	_, err := f.Nodes["n1"].Reserve(t.Context(), []reservation.Request{request})
	f.Check(err)
	return f
}

// Report publishes what a node says.
func (f *Fleet) Report(node string, status record.Status, set ...record.Assignment) {
	f.Helper()
	batch := rollout.Batch{Status: status, Set: set}
	if len(set) > 0 {
		batch.Blocks = []record.Block{f.Blocks[node]}
	}
	f.Check(rollout.Publish(f.Context(), f.Nodes[node].Session, batch))
}

// Change makes a new revision.
func (f *Fleet) Change(mtu int) int64 {
	f.Helper()
	pool := Smallest()
	pool.MTU = mtu
	f.Revision = f.Apply(f.S, pool).Revision
	return f.Revision
}

// Version is how far a set is.
func (f *Fleet) Version(set rollout.Selector) *rollout.SetVersion {
	f.Helper()
	v, err := f.S.Rollout.Version(f.Context(), set)
	f.Check(err)
	return v
}

// Leave ends a node's session at once.
func (f *Fleet) Leave(node string) {
	f.Helper()
	f.Delete(f.S.KV.Keys.Session(node))
}
