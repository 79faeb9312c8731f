package main

import (
	"context"
	"slices"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/record"
)

// A node is what the cluster knows of one: its record, its session, its report.
type node struct {
	record.Node
	Live         bool         `json:"live"`        // it has a session
	Applied      int64        `json:"applied"`     // the revision that all its containers have
	LiveApplied  int64        `json:"liveApplied"` // the one that they have as far as running containers can get it
	Containers   int          `json:"containers"`
	Lagging      []record.Lag `json:"lagging,omitempty"` // at most 200 of them
	LaggingCount int          `json:"laggingCount"`

	Findings      []record.NodeFinding `json:"findings,omitempty"` // at most 50 of them
	FindingsCount int                  `json:"findingsCount,omitempty"`
}

// nodes joins the records, sessions and reports of all nodes, by name.
func nodes(ctx context.Context, store *lease.Operator) ([]node, error) {
	records, err := store.Nodes.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	sessions, err := store.Nodes.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	reports, err := store.Rollout.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	config, err := store.Config.Read(ctx)
	if err != nil {
		return nil, err
	}
	unnamed := config.Settings.Allow(record.OperationRead) != nil // then nobody is told which containers there are
	var all []node
	for _, record := range records {
		report := reports[record.Name]
		if unnamed {
			report.Lagging = nil
		}
		all = append(all, node{
			Node: record, Live: slices.Contains(sessions, record.Name),
			Applied: report.Applied, LiveApplied: max(report.Live, report.Applied), Containers: report.Containers, Lagging: report.Lagging,
			LaggingCount: report.LaggingCount,
			Findings:     report.Findings, FindingsCount: report.FindingsCount,
		})
	}
	return all, nil
}
