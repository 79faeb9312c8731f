package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// An Etcd is a real etcd of one or more members, which keep their data over restarts.
type Etcd struct {
	Members []*Member

	token  string // the cluster's id comes from it
	client *clientv3.Client
}

// etcd makes a cluster's members, and neither their namespaces nor their processes.
func (l *Lab) etcd(members int) *Etcd {
	e := &Etcd{token: rand.Text()}
	for i := range members {
		m := &Member{Name: fmt.Sprintf("e%d", i+1), Address: netip.AddrFrom4([4]byte{10, 200, 0, byte(2 + i)}), etcd: e}
		m.netns = filepath.Join(namespaces, m.Name)
		e.Members = append(e.Members, m)
	}
	return e
}

// Endpoint is where the first member answers, from every node.
func (e *Etcd) Endpoint() string { return e.Members[0].Endpoint() }

// Endpoints are those of all members.
func (e *Etcd) Endpoints() (all []string) {
	for _, m := range e.Members {
		all = append(all, m.Endpoint())
	}
	return all
}

// Side is all members as a side of a partition.
func (e *Etcd) Side() (all Side) {
	for _, m := range e.Members {
		all = append(all, m.Name)
	}
	return all
}

// Client is the lab's own, of all members. No partition stands between it and any of them, unless a cable is pulled.
func (e *Etcd) Client() *clientv3.Client { return e.client }

// Start runs every member that does not run, and waits until each answers.
func (e *Etcd) Start(ctx context.Context) (err error) {
	for _, m := range e.Members {
		if m.process.running() {
			continue
		}
		if err := m.Launch(); err != nil {
			return err
		}
	}
	if e.client == nil {
		if e.client, err = clientv3.New(clientConfig(e.Endpoints()...)); err != nil {
			return err
		}
	}
	for _, m := range e.Members {
		if err := m.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clientConfig is that of a client which tries again at once.
func clientConfig(endpoints ...string) clientv3.Config {
	return clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: patience,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond},
		})},
	}
}

// Halt stops all members in good order; Start brings them back with what they held.
func (e *Etcd) Halt() error { return e.each((*Member).Halt) }

// Kill stops all members as a power cut would.
func (e *Etcd) Kill() error { return e.each((*Member).Kill) }

// Stop ends it for good, at once.
func (e *Etcd) Stop() error {
	if e.client != nil {
		_ = e.client.Close()
	}
	return e.each((*Member).stop)
}

// each does something with all members at once.
func (e *Etcd) each(f func(*Member) error) error {
	done := make(chan error, len(e.Members))
	for _, m := range e.Members {
		go func() { done <- f(m) }()
	}
	var errs []error
	for range e.Members {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// Get gives every key under the prefix, with its value.
func (e *Etcd) Get(ctx context.Context, prefix string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := e.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("lab: etcd: get %s: %w", prefix, err)
	}
	found := make(map[string]string, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found, nil
}

// initialCluster is what each member is told of all of them.
func (e *Etcd) initialCluster() string {
	var all []string
	for _, m := range e.Members {
		all = append(all, m.Name+"="+m.peerURL())
	}
	return strings.Join(all, ",")
}
