package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ClusterID is the id of the etcd cluster that answers, in hexadecimal.
func (s *Store) ClusterID(ctx context.Context) (string, error) {
	response, err := s.get(ctx, s.keys.cluster())
	if err != nil {
		return "", err
	}
	return clusterID(response.Header.ClusterId), nil
}

func clusterID(id uint64) string { return strconv.FormatUint(id, 16) }

// AcceptCluster makes sure that the state belongs to the etcd cluster that answers: it is recorded with the first
// state. It fails with *ClusterError where another is recorded, as after a restore.
func (s *Store) AcceptCluster(ctx context.Context) error {
	actual, err := s.ClusterID(ctx)
	if err != nil {
		return err
	}
	key := s.keys.cluster()
	t := transaction{
		If:   []clientv3.Cmp{absent(key)},
		Then: []clientv3.Op{put(key, Cluster{ID: actual, Accepted: time.Now().UTC()})},
		Else: []clientv3.Op{clientv3.OpGet(key)},
	}
	response, err := s.settle(ctx, "accept cluster", t)
	if err != nil || response.Succeeded {
		return err
	}
	kv := found(response, 0)[0]
	var recorded Cluster
	if err := json.Unmarshal(kv.Value, &recorded); err != nil {
		return fmt.Errorf("lease: the record at %s cannot be read: %w", kv.Key, err)
	}
	if recorded.ID != actual {
		return &ClusterError{Recorded: recorded.ID, Actual: actual}
	}
	return nil
}
