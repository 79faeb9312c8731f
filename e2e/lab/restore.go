package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// A Token decides which cluster an etcd is after a restore: its id comes from the token.
type Token bool

const (
	NewToken  Token = true  // another cluster, with another id, as the documents ask for
	SameToken Token = false // the same id, with revisions that go back
)

// Snapshot writes what etcd holds now into a file, as `etcdctl snapshot save` does. It asks the leader.
func (e *Etcd) Snapshot(ctx context.Context, path string) error {
	leader, err := e.Leader(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := snapshot.NewV3(zap.NewNop()).Save(ctx, clientConfig(leader.Endpoint()), path); err != nil {
		return fmt.Errorf("lab: snapshot of etcd %s: %w", leader.Name, err)
	}
	return nil
}

// Restore kills all members, gives each the data of a snapshot in place of its own, as `etcdutl snapshot restore`
// does, and starts them. All that was written since the snapshot is gone.
func (e *Etcd) Restore(ctx context.Context, path string, token Token) error {
	return e.renew(ctx, token, func(m *Member) error {
		err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
			SnapshotPath: path, Name: m.Name, OutputDataDir: m.dir(), PeerURLs: []string{m.peerURL()},
			InitialCluster: e.initialCluster(), InitialClusterToken: e.token,
		})
		if err != nil {
			return fmt.Errorf("lab: restore etcd %s from %s: %w", m.Name, path, err)
		}
		return nil
	})
}

// Recreate kills all members, throws away what they held and starts an empty cluster in their place.
func (e *Etcd) Recreate(ctx context.Context) error {
	return e.renew(ctx, NewToken, func(*Member) error { return nil })
}

// renew gives every member new data, all while none runs.
func (e *Etcd) renew(ctx context.Context, token Token, fill func(*Member) error) error {
	if err := e.Kill(); err != nil {
		return err
	}
	if token == NewToken {
		e.token = rand.Text()
	}
	var errs []error
	for _, m := range e.Members {
		errs = append(errs, os.RemoveAll(m.dir()), fill(m))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return e.Start(ctx)
}
