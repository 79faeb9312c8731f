package lease

import (
	clientv3 "go.etcd.io/etcd/client/v3"
)

// absentFor compares that a node is still away: its session key is absent, and no return has rewritten its node key.
func absentFor(keys Keys, a Absence) []clientv3.Cmp {
	return []clientv3.Cmp{absent(keys.session(a.Node)), unchanged(keys.node(a.Node), a.Revision)}
}

// An Absence is a node whose session key was seen to be gone, under a mod revision of its node key. Every return of the
// node rewrites that.
type Absence struct {
	Node     string
	Revision int64
}
