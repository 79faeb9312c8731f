package report

import (
	"context"
	"errors"
	"strconv"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/backlog"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/update"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

// A Reporter answers requests about the state of this node and what it holds.
type Reporter struct {
	*node.Node
	addresses *addresses.Manager
	updater   *update.Updater
	detacher  *attach.Detacher
	backlog   *backlog.Backlog

	Readings readings
}

// New makes a node's reporter.
func New(n *node.Node, m *addresses.Manager, u *update.Updater, d *attach.Detacher, b *backlog.Backlog) *Reporter {
	return &Reporter{Node: n, addresses: m, updater: u, detacher: d, backlog: b}
}

// parameters are a selection in the form of the function that reads it.
func parameters(s *wire.Select) map[string][]string {
	p := map[string][]string{}
	if len(s.Containers) > 0 {
		p[rollout.ByContainer] = s.Containers
	}
	for name, value := range map[string]string{rollout.ByApp: s.App, rollout.ByNode: s.Node, rollout.ByPool: s.Pool} {
		if value != "" {
			p[name] = []string{value}
		}
	}
	if s.Live {
		p[rollout.ByLive] = []string{strconv.FormatBool(true)}
	}
	return p
}

// ReadSelected is the socket's answer.
func (re *Reporter) ReadSelected(ctx context.Context, s *wire.Select) (*wire.SetVersion, error) {
	set, err := rollout.SelectorOf(parameters(s))
	if err != nil {
		return nil, wire.Errorf(wire.CodeOperation, "%w", err)
	}
	return re.VersionOf(ctx, set)
}

// VersionOf is the version of a set, wherever its containers are. It is read from etcd, and judged as berthctl does.
func (re *Reporter) VersionOf(ctx context.Context, set rollout.Selector) (*wire.SetVersion, error) {
	if err := re.Allowed(wire.Read); err != nil {
		return nil, err
	}
	reports, err := re.Readings.next(ctx, &re.Background, re.Store.Rollout.Reports)
	if err != nil {
		return nil, wire.Errorf(wire.CodeTryAgain, "the version cannot be read now: %w", err)
	}
	v, err := reports.Version(set)
	if err != nil {
		return nil, versionError(err)
	}
	out := &wire.SetVersion{
		Revision: v.Revision, Complete: v.Complete, UpToDate: v.UpToDate, Total: v.Total, Unreadable: v.Unreadable,
		Containers: []wire.ContainerVersion{}, Nodes: []wire.NodeVersion{},
	}
	for _, c := range v.Containers {
		out.Containers = append(out.Containers, wire.ContainerVersion(c))
	}
	for _, n := range v.Nodes {
		out.Nodes = append(out.Nodes, wire.NodeVersion(n))
	}
	return out, nil
}

// versionError adds a code to the error of a judgement.
func versionError(err error) error {
	if off, ok := errors.AsType[*record.OperationError](err); ok {
		return wire.Errorf(wire.CodeOperation, "%w", off)
	}
	return wire.Errorf(wire.CodeUnknown, "%w", err)
}
