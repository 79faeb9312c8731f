package rollout

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Statuses are what the nodes say of themselves, by name.
func (s *Store) Statuses(ctx context.Context) (map[string]record.Status, error) {
	all, err := kv.Readable(ctx, s.kv, record.StatusCodec)
	statuses := make(map[string]record.Status, len(all))
	for _, each := range all {
		statuses[each.Node] = each
	}
	return statuses, err
}

// ofThisHistory are the statuses that count: those written since the cluster's record was, which is at the first handshake after a
// restore of etcd, and when its state is accepted. An earlier one may tell of a history that etcd has lost, in which the node's
// containers got what they do not have in this one. Of an etcd that is not the recorded one, and that no node has met yet, none counts.
func ofThisHistory(keys kv.Keys, statuses []*mvccpb.KeyValue, cluster *kv.Read, h *etcdserverpb.ResponseHeader) []*mvccpb.KeyValue {
	if cluster.Found() {
		c, err := record.ClusterCodec.Read(keys, cluster.KVs[0])
		if err == nil && c.ID != "" && c.ID != kv.ClusterID(h.ClusterId) {
			return nil
		}
	}
	return slices.DeleteFunc(statuses, func(s *mvccpb.KeyValue) bool { return s.ModRevision < cluster.Revision() })
}
