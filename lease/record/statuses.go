package record

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
)

// Statuses are what the nodes say of themselves, by name. What one said before a restore of etcd is left out.
func Statuses(ctx context.Context, c *kv.Client) (map[string]Status, error) {
	t := kv.Transact("read statuses")
	said := StatusesIn(t, c.Keys)
	if err := c.Query(ctx, kv.ScanTime, t); err != nil {
		return nil, err
	}
	all, damaged := StatusCodec.ReadAll(c.Keys, said.Counting(t.Header))
	for _, each := range damaged {
		c.Unreadable(each)
	}
	statuses := make(map[string]Status, len(all))
	for _, each := range all {
		statuses[each.Node] = each
	}
	return statuses, nil
}

// StatusReads are the reads of a transaction that tell what the nodes say of themselves.
type StatusReads struct {
	keys           kv.Keys
	found, cluster *kv.Read
}

// StatusesIn adds the reads of all nodes' statuses to a transaction.
func StatusesIn(t *kv.Txn, keys kv.Keys) *StatusReads {
	return &StatusReads{keys, t.Else(keys.Under(kv.KindStatus), clientv3.WithPrefix()), t.Else(keys.Cluster())}
}

// StatusIn adds the read of one node's status to a transaction.
func StatusIn(t *kv.Txn, keys kv.Keys, node string) *StatusReads {
	return &StatusReads{keys, t.Else(keys.Status(node)), t.Else(keys.Cluster())}
}

// Counting are the statuses that count, once the transaction is done: those written since the cluster's record was, which is at the
// first handshake after a restore of etcd, and when its state is accepted. An earlier one may tell of a history that etcd has lost, in
// which the node's containers got what they do not have in this one. Of an etcd that is not the recorded one, and that no node has met
// yet, none counts.
func (s *StatusReads) Counting(h *etcdserverpb.ResponseHeader) []*mvccpb.KeyValue {
	if s.cluster.Found() {
		c, err := ClusterCodec.Read(s.keys, s.cluster.KVs[0])
		if err == nil && c.ID != "" && c.ID != kv.ClusterID(h.ClusterId) {
			return nil
		}
	}
	return slices.DeleteFunc(s.found.KVs, func(status *mvccpb.KeyValue) bool { return status.ModRevision < s.cluster.Revision() })
}
