package etcd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// writes reports whether the transaction may write.
func (t *txn) writes() bool {
	return slices.ContainsFunc(slices.Concat(t.then, t.otherwise), func(op clientv3.Op) bool { return !op.IsGet() })
}

// frozen is the answer of a member that was paused at a revision, and takes itself for the leader still, as releases did before
// issue 20418 was mended: to what reads and compares. It has none to what may write.
func (t *txn) frozen(ctx context.Context, c *clientv3.Client, revision int64) (*clientv3.TxnResponse, error) {
	if t.writes() {
		return nil, errDown
	}
	holds, branch := true, t.then
	for _, compare := range t.compares {
		held, err := c.Get(ctx, string(compare.KeyBytes()), clientv3.WithRev(revision))
		if err != nil {
			return nil, err
		}
		one, err := hold(compare.GetCompare(), held)
		if err != nil {
			return nil, err
		}
		if !one {
			holds, branch = false, t.otherwise
		}
	}
	then := slices.Clone(branch)
	for i := range then {
		clientv3.WithRev(revision)(&then[i])
	}
	r, err := c.Txn(ctx).Then(then...).Commit()
	if err == nil {
		r.Header.Revision, r.Succeeded = revision, holds
	}
	return r, err
}

// hold reports whether a compare of one key's revisions holds of what the key has.
func hold(c *pb.Compare, held *clientv3.GetResponse) (bool, error) {
	var is, want int64
	switch c.Target {
	case pb.Compare_MOD:
		want = c.GetModRevision()
	case pb.Compare_CREATE:
		want = c.GetCreateRevision()
	default:
		return false, errors.New("etcd in a bubble: a frozen member compares revisions only")
	}
	if len(held.Kvs) > 0 && c.Target == pb.Compare_MOD {
		is = held.Kvs[0].ModRevision
	} else if len(held.Kvs) > 0 {
		is = held.Kvs[0].CreateRevision
	}
	order := cmp.Compare(is, want)
	return c.Result == pb.Compare_EQUAL && order == 0 || c.Result == pb.Compare_NOT_EQUAL && order != 0 ||
		c.Result == pb.Compare_LESS && order < 0 || c.Result == pb.Compare_GREATER && order > 0, nil
}
