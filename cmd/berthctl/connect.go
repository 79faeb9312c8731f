package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/agent/exclusive"
	"github.com/berth-ipam/berth/internal/flags"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/kv"
)

// patience is how long etcd may take to answer for the first time. After that package lease bounds each call.
const patience = 5 * time.Second

// startTime is how long an agent that has been started may take until its etcd answers.
const startTime = 30 * time.Second

// A verb is what a command does with the cluster.
type verb func(ctx context.Context, store *lease.Operator, args []string) error

// cluster makes the body of a command that needs etcd.
func (c *ctl) cluster(do verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.etcd.Unreadable = c.passedOver
		store, err := c.open(cmd.Context())
		if err != nil {
			return err
		}
		defer store.KV.Close()
		return do(cmd.Context(), store, args)
	}
}

// operation makes the body of a command that does to containers, or tells of them, what the settings can switch off.
func (c *ctl) operation(operation string, do verb) func(*cobra.Command, []string) error {
	return c.cluster(func(ctx context.Context, store *lease.Operator, args []string) error {
		if err := store.Config.Allow(ctx, operation); err != nil {
			return err
		}
		return do(ctx, store, args)
	})
}

// open connects to etcd, and comes back with an error where etcd does not answer soon.
func (c *ctl) open(ctx context.Context) (*lease.Operator, error) {
	if len(c.etcd.Endpoints) == 0 {
		c.etcd.Endpoints = []string{"unix://" + flags.EtcdSocket(*c.runDir)}
	}
	store, err := lease.OpenOperator(*c.etcd)
	if err != nil {
		return nil, err
	}
	if err := c.reach(ctx, store); err != nil {
		store.KV.Close()
		return nil, c.explainEtcd(err)
	}
	return store, nil
}

// reach finds out whether etcd answers, and lets this user in. An agent that is about to serve an etcd of its own is waited for.
func (c *ctl) reach(ctx context.Context, store *lease.Operator) error {
	err := answers(ctx, store)
	by, held := exclusive.Held(*c.runDir)
	if err == nil || !held || !c.local() || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	fmt.Fprintf(c.diagnostics, "waiting for the etcd of %s, which is starting\n", by)
	for end := time.Now().Add(startTime); err != nil && held && time.Now().Before(end) &&
		ctx.Err() == nil; _, held = exclusive.Held(*c.runDir) {
		time.Sleep(startTime / 200)
		err = answers(ctx, store)
	}
	return err
}

func answers(ctx context.Context, store *lease.Operator) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := store.KV.Reach(ctx); err != nil {
		return err
	}
	_, err := store.Nodes.ClusterID(ctx)
	return err
}

// local reports whether the etcd is that of this machine's agent.
func (c *ctl) local() bool { return strings.HasPrefix(c.etcd.Endpoints[0], "unix") }

// explainEtcd says which etcd did not answer, or refused, why, and what to check.
func (c *ctl) explainEtcd(err error) error {
	at, reason := strings.Join(c.etcd.Endpoints, ", "), strings.ReplaceAll(inWords(err), "\n", "; ")
	unreached, _ := errors.AsType[*kv.UnreachableError](err)
	switch {
	case kv.Refused(err):
		return fmt.Errorf("etcd at %s refuses: %s\ncheck --etcd-user, --etcd-password-file and --etcd-prefix, "+
			"and the user's role (docs/etcd.md)", at, reason)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s\nthe socket is for root alone: try sudo", reason)
	case unreached != nil && c.local():
		return fmt.Errorf("%s\ndoes berthd run on this machine, without --etcd-endpoints, and with --run-dir %s? Else give berthctl "+
			"the --etcd-endpoints that berthd has", reason, *c.runDir)
	case unreached != nil:
		return fmt.Errorf("%s\ncheck --etcd-endpoints, and that etcd runs there", reason)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("etcd at %s does not answer: %s\ncheck that a majority of etcd's members runs", at, reason)
	}
	return fmt.Errorf("etcd at %s: %s", at, reason)
}
