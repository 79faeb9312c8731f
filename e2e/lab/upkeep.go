package lab

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ID is the cluster's id, which comes from its token.
func (e *Etcd) ID(ctx context.Context) (uint64, error) {
	answer, err := e.read(ctx, "ready")
	if err != nil {
		return 0, err
	}
	return answer.Header.ClusterId, nil
}

// Revision is the present one.
func (e *Etcd) Revision(ctx context.Context) (int64, error) {
	answer, err := e.read(ctx, "ready")
	if err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

func (e *Etcd) read(ctx context.Context, key string) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := e.client.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("lab: etcd: get %s: %w", key, err)
	}
	return answer, nil
}

// Leader is the member that leads, as the member of the highest term says; it fails while there is none.
func (e *Etcd) Leader(ctx context.Context) (*Member, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ids := map[uint64]*Member{}
	var leader, term uint64
	var errs []error
	for _, m := range e.Members {
		answer, err := m.status(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ids[answer.Header.MemberId] = m
		if answer.RaftTerm > term || answer.RaftTerm == term && leader == 0 {
			leader, term = answer.Leader, answer.RaftTerm
		}
	}
	if ids[leader] == nil {
		return nil, errors.Join(fmt.Errorf("lab: etcd has no leader among the %d members that answer", len(ids)), errors.Join(errs...))
	}
	return ids[leader], nil
}

func (m *Member) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	answer, err := m.client.Status(ctx, m.Endpoint())
	if err != nil {
		return nil, fmt.Errorf("lab: status of etcd %s: %w", m.Name, err)
	}
	return answer, nil
}

// MoveLeader has the leader hand its office to another member, and gives that one.
func (e *Etcd) MoveLeader(ctx context.Context) (*Member, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	leader, err := e.Leader(ctx)
	if err != nil {
		return nil, err
	}
	errs := []error{fmt.Errorf("lab: move etcd's leader away from %s: no other member takes it", leader.Name)}
	for _, m := range e.Members {
		if m == leader {
			continue
		}
		answer, err := m.status(ctx)
		if err == nil {
			_, err = leader.client.MoveLeader(ctx, answer.Header.MemberId)
		}
		if err == nil {
			return m, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Defragment rewrites the files of every member that answers, one after another; each answers nobody meanwhile.
func (e *Etcd) Defragment(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, m := range e.Members {
		if _, err := m.status(ctx); err != nil {
			continue
		}
		if _, err := m.client.Defragment(ctx, m.Endpoint()); err != nil {
			return fmt.Errorf("lab: defragment etcd %s: %w", m.Name, err)
		}
	}
	return nil
}

// Compact forgets all history before the present revision, and gives that: whoever watches from before it must read
// everything again.
func (e *Etcd) Compact(ctx context.Context) (int64, error) {
	revision, err := e.Revision(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := e.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return 0, fmt.Errorf("lab: compact etcd to revision %d: %w", revision, err)
	}
	return revision, nil
}

// Revoke ends a node's session as nobody should: it revokes the lease of its session key. It fails where the node has
// no session.
func (e *Etcd) Revoke(ctx context.Context, node string) error {
	key := "/berth/v1/sessions/" + node
	answer, err := e.read(ctx, key)
	if err != nil {
		return err
	}
	if len(answer.Kvs) == 0 || answer.Kvs[0].Lease == 0 {
		return fmt.Errorf("lab: revoke the lease of %s: no lease holds that key", key)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := e.client.Revoke(ctx, clientv3.LeaseID(answer.Kvs[0].Lease)); err != nil {
		return fmt.Errorf("lab: revoke the lease of %s: %w", key, err)
	}
	return nil
}
