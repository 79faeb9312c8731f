package record

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
)

// AbsentFor compares that a node is still away: its session key is absent, and no return has rewritten its node key.
func AbsentFor(keys kv.Keys, a Absence) []clientv3.Cmp {
	return []clientv3.Cmp{kv.Absent(keys.Session(a.Node)), kv.Unchanged(keys.Node(a.Node), a.Revision)}
}

// An Absence is a node whose session key was seen to be gone, under a mod revision of its node key. Every return of the
// node rewrites that.
type Absence struct {
	Node     string
	Revision int64
}
