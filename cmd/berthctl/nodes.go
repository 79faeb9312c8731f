package main

import (
	"context"
	"slices"

	"github.com/berth-ipam/berth/lease"
)

// A node is what the cluster knows of one: its record, its session, its report.
type node struct {
	lease.Node
	Live         bool        `json:"live"` // it has a session
	Applied      int64       `json:"applied"`
	Containers   int         `json:"containers"`
	Lagging      []lease.Lag `json:"lagging,omitempty"` // at most 200 of them
	LaggingCount int         `json:"laggingCount"`

	Findings      []lease.NodeFinding `json:"findings,omitempty"` // at most 50 of them
	FindingsCount int                 `json:"findingsCount,omitempty"`
}

// nodes joins the records, sessions and reports of all nodes, by name.
func nodes(ctx context.Context, store *lease.Store) ([]node, error) {
	records, err := store.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := store.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	reports, err := store.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	var all []node
	for _, record := range records {
		report := reports[record.Name]
		all = append(all, node{
			Node: record, Live: slices.Contains(sessions, record.Name),
			Applied: report.Applied, Containers: report.Containers, Lagging: report.Lagging, LaggingCount: report.LaggingCount,
			Findings: report.Findings, FindingsCount: report.FindingsCount,
		})
	}
	return all, nil
}

// upToDate reports whether all containers of n have the configuration of revision.
func (n node) upToDate(revision int64) bool { return n.Applied >= revision && n.LaggingCount == 0 }

// rolledOut reports whether every live node is up to date.
func rolledOut(all []node, revision int64) bool {
	return !slices.ContainsFunc(all, func(n node) bool { return n.Live && !n.upToDate(revision) })
}
