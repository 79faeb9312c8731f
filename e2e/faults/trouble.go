package faults

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/lab"
)

// trouble is what happens to etcd.
func (n *nemesis) trouble(ctx context.Context, f Fault, pause func()) (err error) {
	defer n.w.suffers(f.Kind, "")()
	m, etcd := n.member(f), n.w.lab.Etcd
	switch f.Kind {
	case KillEtcd:
		if err = m.Kill(); err == nil {
			n.w.shows(KillEtcd, muteMember(ctx, m))
			pause()
			err = m.Launch()
		}
	case PauseEtcd:
		if err = m.Pause(); err == nil {
			n.w.shows(PauseEtcd, muteMember(ctx, m))
			pause()
			err = m.Resume()
		}
	case Defragment:
		before := inode(m.Database())
		if err = etcd.Defragment(ctx); err == nil {
			n.w.shows(Defragment, other(before, inode(m.Database()), "the file of "+m.Name))
		}
	case Leader:
		err = n.depose(ctx)
	case Compact:
		var revision int64
		if revision, err = etcd.Compact(ctx); err == nil {
			n.w.shows(Compact, forgotten(ctx, etcd, revision))
		}
	}
	return errors.Join(err, n.w.etcdServes(ctx))
}

// depose has etcd's leader hand over.
func (n *nemesis) depose(ctx context.Context) error {
	etcd := n.w.lab.Etcd
	before, err := etcd.Leader(ctx)
	if err != nil {
		return err
	}
	if _, err := etcd.MoveLeader(ctx); err != nil {
		return err
	}
	after, err := etcd.Leader(ctx)
	if err == nil {
		err = other(before, after, "the leader")
	}
	n.w.shows(Leader, err)
	return nil
}

// restore brings etcd back to what it held when the fault began.
func (n *nemesis) restore(ctx context.Context, pause func()) error {
	path, etcd := filepath.Join(scratch, "snapshot"), n.w.lab.Etcd
	taken := n.w.now()
	before, err := etcd.ID(ctx)
	if err == nil {
		err = etcd.Snapshot(ctx, path)
	}
	if err != nil {
		return err
	}
	pause()
	defer n.w.suffers(Restore, "")()
	err = etcd.Restore(ctx, path, lab.NewToken)
	n.w.mu.Lock()
	n.w.history.Restores = append(n.w.history.Restores, check.Restore{Taken: taken, At: n.w.now()})
	n.w.mu.Unlock()
	if err = errors.Join(err, n.w.etcdServes(ctx)); err != nil {
		return err
	}
	after, err := etcd.ID(ctx)
	if err == nil {
		err = other(before, after, "the cluster's id")
	}
	n.w.shows(Restore, err)
	return nil
}
