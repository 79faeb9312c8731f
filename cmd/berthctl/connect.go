package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"github.com/berth-ipam/berth/internal/flags"
	"github.com/berth-ipam/berth/lease"
)

// patience is how long etcd may take to answer for the first time. After that package lease bounds each call.
const patience = 5 * time.Second

// A verb is what a command does with the cluster.
type verb func(ctx context.Context, store *lease.Store, args []string) error

// cluster makes the body of a command that needs etcd.
func (c *ctl) cluster(do verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		store, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		defer store.Close()
		return do(cmd.Context(), store, args)
	}
}

// open connects to etcd, and comes back with an error where etcd does not answer soon.
func (c *ctl) open(ctx context.Context) (*lease.Store, error) {
	if len(c.etcd.Endpoints) == 0 {
		c.etcd.Endpoints = []string{"unix://" + flags.EtcdSocket(*c.runDir)}
	}
	store, err := lease.Open(*c.etcd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := reach(ctx, c.etcd.Endpoints); err != nil {
		store.Close()
		return nil, c.explainEtcd(err)
	}
	if _, err := store.ClusterID(ctx); err != nil {
		store.Close()
		return nil, c.explainEtcd(err)
	}
	return store, nil
}

// reach knocks at all endpoints at once. It succeeds when the first one opens, and else fails with the reason of each:
// etcd's client knows of no reason and only runs out of time.
func reach(ctx context.Context, endpoints []string) error {
	results := make(chan error, len(endpoints))
	for _, endpoint := range endpoints {
		go func() {
			network, address := dialable(endpoint)
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				conn.Close()
			}
			results <- err
		}()
	}
	var reasons []error
	for range endpoints {
		err := <-results
		if err == nil {
			return nil
		}
		reasons = append(reasons, err)
	}
	return errors.Join(reasons...)
}

// dialable reads an endpoint in one of the ways that etcd's client understands.
func dialable(endpoint string) (network, address string) {
	for _, scheme := range []string{"unix:", "unixs:"} {
		if path, ok := strings.CutPrefix(endpoint, scheme); ok {
			return "unix", strings.TrimPrefix(path, "//")
		}
	}
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return "tcp", u.Host
	}
	return "tcp", endpoint
}

// explainEtcd says which etcd did not answer, or refused, why, and what to check.
func (c *ctl) explainEtcd(err error) error {
	at, reason := strings.Join(c.etcd.Endpoints, ", "), strings.ReplaceAll(err.Error(), "\n", "; ")
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok && e.Code() != codes.Unavailable && e.Code() != codes.DeadlineExceeded {
		return fmt.Errorf("etcd at %s refuses: %s\ncheck --etcd-user, --etcd-password-file and --etcd-prefix", at, e.Error())
	}
	var check string
	switch local := strings.HasPrefix(c.etcd.Endpoints[0], "unix"); {
	case errors.Is(err, fs.ErrPermission):
		check = "the socket is for root alone: try sudo"
	case local:
		check = "does berthd run on this machine, without --etcd-endpoints, and with --run-dir " + *c.runDir + "? Else give berthctl the --etcd-endpoints that berthd has"
	case errors.Is(err, context.DeadlineExceeded):
		check = "check --etcd-endpoints, that a majority of etcd's members runs, and where etcd wants TLS, https:// with --etcd-cacert, --etcd-cert and --etcd-key"
	default:
		check = "check --etcd-endpoints, and that etcd runs there"
	}
	return fmt.Errorf("etcd at %s does not answer: %s\n%s", at, reason, check)
}
