package admin

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/record"
)

const (
	Slots    = requestSlots
	PageSize = pageSize
)

func (s *NodeReports) Pose(ctx context.Context, q record.ReportRequest, id clientv3.LeaseID) (slot string, at int64, live []string,
	err error) {
	return s.place(ctx, q, id)
}

func (s *Store) HeldBy(ctx context.Context, name string) (belongings, error) {
	return s.heldBy(ctx, name)
}

func (s *Store) RemoveAll(ctx context.Context, name string, tombstone int64, held belongings) (Removal, error) {
	return s.removeAll(ctx, name, tombstone, held)
}
