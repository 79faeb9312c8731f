package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A status is the cluster at a glance.
type status struct {
	Etcd     etcdStatus `json:"etcd"`
	Revision int64      `json:"revision"`
	Complete bool       `json:"complete"` // as of "berthctl version": of all containers
	UpToDate int        `json:"upToDate"`
	Total    int        `json:"total"`
	Note     string     `json:"note,omitempty"` // why no container is named
	Nodes    []node     `json:"nodes"`
	Pools    []usage    `json:"pools"`

	WaitingFor []rollout.NodeVersion      `json:"waitingFor,omitempty"` // live nodes that have not applied it yet
	Lagging    []rollout.ContainerVersion `json:"lagging,omitempty"`
}

type etcdStatus struct {
	Endpoints []string `json:"endpoints"`
	ClusterID string   `json:"clusterID"`
	Refused   string   `json:"refused,omitempty"`  // why no agent joins: it is of a release that agents refuse
	Warnings  []string `json:"warnings,omitempty"` // what is known to be wrong with its release
}

// releaseTime bounds the question of which release etcd is of, which goes to each member: one may be away.
const releaseTime = 2 * time.Second

// A usage is how full a pool is, of one family.
type usage struct {
	Pool     string       `json:"pool"`
	CIDR     netip.Prefix `json:"cidr"`
	Assigned uint64       `json:"assigned"` // to stateless containers
	Reserved uint64       `json:"reserved"` // for members of stateful apps, whether they run or not
	Used     uint64       `json:"used"`     // assigned or reserved
	Total    uint64       `json:"total"`    // that can be used
	Blocks   int          `json:"blocks"`   // that have an owner
}

func (c *ctl) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Print how the cluster is: etcd, nodes, pools, and what lags",
		Long: `Status prints how the cluster is: the etcd that answers, the revision of the configuration, the nodes and whether
they are live, how full the pools are, and the containers that do not have the configuration yet. Whether the
configuration is complete is judged as "berthctl version" judges it.`,
		Example: `  berthctl status
  berthctl status -o json
  berthctl --etcd-endpoints http://10.0.0.1:2379 status`,
		Args: noArgs,
		RunE: c.cluster(func(ctx context.Context, store *lease.Operator, _ []string) error {
			s, err := c.readStatus(ctx, store)
			if err != nil {
				return err
			}
			return c.print(s, s.write(c))
		}),
	}
}

func (c *ctl) readStatus(ctx context.Context, store *lease.Operator) (status, error) {
	id, err := store.Nodes.ClusterID(ctx)
	if err != nil {
		return status{}, err
	}
	s := status{Etcd: etcdStatus{Endpoints: c.etcd.Endpoints, ClusterID: id}, Nodes: []node{}}
	bounded, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	warnings, err := store.KV.CheckRelease(bounded)
	if refused, ok := errors.AsType[*kv.ReleaseError](err); ok {
		s.Etcd.Refused = inWords(refused)
	}
	for _, warning := range warnings {
		s.Etcd.Warnings = append(s.Etcd.Warnings, inWords(warning))
	}
	all, err := nodes(ctx, store)
	if err != nil {
		return status{}, err
	}
	s.Nodes = append(s.Nodes, all...)
	config, err := store.Config.Read(ctx)
	if err != nil {
		return status{}, err
	}
	if err := s.judge(ctx, store); err != nil {
		return status{}, err
	}
	s.Pools, err = usages(ctx, store, config)
	return s, err
}

// judge fills in how far the configuration has come, as "berthctl version" judges it. It also tells while the settings
// switch reading off, but names no container then.
func (s *status) judge(ctx context.Context, store *lease.Operator) error {
	reports, err := store.Rollout.Reports(ctx)
	if err != nil {
		return err
	}
	v, off := reports.Overview()
	s.Revision, s.Complete, s.UpToDate, s.Total, s.WaitingFor = v.Revision, v.Complete, v.UpToDate, v.Total, v.Nodes
	if off != nil {
		s.Note = "no container is named: " + inWords(off)
		return nil
	}
	for _, container := range v.Containers {
		if !container.UpToDate {
			s.Lagging = append(s.Lagging, container)
		}
	}
	return nil
}

// usages counts what is used of each pool, by CIDR.
func usages(ctx context.Context, store *lease.Operator, config *config.Config) ([]usage, error) {
	all, err := holdings(ctx, store)
	if err != nil {
		return nil, err
	}
	blocks, err := store.Blocks.List(ctx)
	if err != nil {
		return nil, err
	}
	found := []usage{}
	for _, pool := range sortedPools(config) {
		for _, cidr := range pool.CIDRs {
			u := usage{Pool: pool.Name, CIDR: cidr, Total: pool.UsableCountIn(cidr)}
			for _, h := range all {
				switch {
				case h.Pool != pool.Name || !u.CIDR.Contains(h.Address):
				case h.State == stateAssigned:
					u.Assigned++
				default:
					u.Reserved++
				}
			}
			for _, block := range blocks {
				if block.Pool == pool.Name && u.CIDR.Contains(block.Prefix.Addr()) {
					u.Blocks++
				}
			}
			u.Used = u.Assigned + u.Reserved
			found = append(found, u)
		}
	}
	return found, nil
}

func (s status) write(c *ctl) func(io.Writer) error {
	return func(w io.Writer) error {
		fmt.Fprintf(w, "etcd      answers at %s, cluster %s\n", strings.Join(s.Etcd.Endpoints, ", "), s.Etcd.ClusterID)
		if s.Etcd.Refused != "" {
			fmt.Fprintf(w, "          no agent joins: %s\n", s.Etcd.Refused)
		}
		for _, warning := range s.Etcd.Warnings {
			fmt.Fprintf(w, "          warning: %s\n", warning)
		}
		fmt.Fprintf(w, "revision  %d, complete: %s, %d of %d containers have it\n", s.Revision, yesNo(s.Complete), s.UpToDate, s.Total)
		if s.Note != "" {
			fmt.Fprintf(w, "          %s\n", s.Note)
		}
		if len(s.WaitingFor) > 0 {
			fmt.Fprintf(w, "          waiting for %s\n", few(nodesOf(s.WaitingFor)))
		}
		fmt.Fprintln(w)
		if err := c.nodes().table(s.Nodes).write(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
		pools := table{header: []string{"POOL", "CIDR", "USED", "TOTAL", "ASSIGNED", "RESERVED", "BLOCKS"}}
		for _, u := range s.Pools {
			pools.rows = append(pools.rows, []string{
				u.Pool, u.CIDR.String(), fmt.Sprint(u.Used), fmt.Sprint(u.Total), fmt.Sprint(u.Assigned), fmt.Sprint(u.Reserved),
				strconv.Itoa(u.Blocks),
			})
		}
		if err := pools.write(w); err != nil {
			return err
		}
		if err := s.writeFindings(w); err != nil {
			return err
		}
		return s.writeLagging(w)
	}
}

// writeFindings lists what is wrong on the live nodes, as they say themselves.
func (s status) writeFindings(w io.Writer) error {
	t := table{header: []string{"FINDING", "NODE", "ABOUT", "WHAT", "DO"}}
	for _, n := range s.Nodes {
		for _, f := range n.Findings {
			if n.Live {
				t.rows = append(t.rows, []string{f.Kind, n.Name, f.Subject, f.Text, f.Advice})
			}
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return t.write(w)
}

// mostLagging is how many containers that lag a table lists.
const mostLagging = 20

// writeLagging lists the containers that do not have the configuration yet, and why.
func (s status) writeLagging(w io.Writer) error {
	if len(s.Lagging) == 0 {
		return nil
	}
	t := table{header: []string{"LAGGING", "NODE", "REASON"}}
	for _, lag := range s.Lagging[:min(len(s.Lagging), mostLagging)] {
		t.rows = append(t.rows, []string{lag.Attachment().String(), lag.Node, lag.Reason})
	}
	fmt.Fprintln(w)
	err := t.write(w)
	if more := len(s.Lagging) - mostLagging; err == nil && more > 0 {
		_, err = fmt.Fprintf(w, "and %d more: see \"berthctl version\"\n", more)
	}
	return err
}
