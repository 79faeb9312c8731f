package rollout

import (
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// Version decides about a set. Every way of asking uses it.
func (r *Reports) Version(set Selector) (*SetVersion, error) { return r.version(set, r.config, false) }

// Overview is the version of the set of all, for who sees to the cluster, whatever the settings switch off. Where that is
// reading, the error says so and the containers are not to be named to anybody.
func (r *Reports) Overview() (*SetVersion, error) {
	v, _ := r.judge(Selector{}, r.config) // the set of all is always there
	return v, r.settings.Allow(record.OperationRead)
}

// version judges whether a set has a revision. An app that was known may have no container for a moment.
func (r *Reports) version(set Selector, revision int64, known bool) (*SetVersion, error) {
	if err := r.settings.Allow(record.OperationRead); err != nil {
		return nil, err
	}
	if err := r.names(set, known); err != nil {
		return nil, err
	}
	return r.judge(set, revision)
}

// names fails where a node, a pool or an app of the selector is not there.
func (r *Reports) names(set Selector, known bool) error {
	switch {
	case set.Node != "" && !r.nodes[set.Node]:
		return &SelectorError{What: ByNode, Name: set.Node}
	case set.Pool != "" && !r.pools[set.Pool]:
		return &SelectorError{What: ByPool, Name: set.Pool}
	case set.App == (allocator.App{}) || known || len(r.containers(set)) > 0:
		return nil
	}
	for _, m := range r.reservations {
		if m.Identity.Namespace == set.App.Namespace && m.Identity.App == set.App.Name && (set.Pool == "" || m.Pool == set.Pool) {
			return nil // none of its members runs now
		}
	}
	return &SelectorError{What: ByApp, Name: set.App.String()}
}

// judge says of the set's containers whether they have a revision.
func (r *Reports) judge(set Selector, revision int64) (*SetVersion, error) {
	containers, err := pick(r.containers(set), set.Containers)
	if err != nil {
		return nil, err
	}
	v := &SetVersion{Revision: revision, Total: len(containers), Containers: containers, Nodes: []NodeVersion{}}
	for i := range containers {
		r.judgeOne(&containers[i], revision, set.Live)
		if containers[i].UpToDate {
			v.UpToDate++
		}
	}
	for _, node := range r.live {
		if applied := r.applied(node, set.Live); r.concerns(set, node) && applied < revision {
			v.Nodes = append(v.Nodes, NodeVersion{node, max(applied, 0)})
		}
	}
	if len(set.Containers) == 0 {
		v.Unreadable = r.unreadableOf(set.Pool)
	}
	v.Complete = v.UpToDate == v.Total && len(v.Nodes) == 0 && len(v.Unreadable) == 0
	return v, nil
}

// concerns reports whether containers of the set may be on a node without a record of them yet.
func (r *Reports) concerns(set Selector, node string) bool {
	return len(set.Containers) == 0 && (set.Node == "" || set.Node == node)
}

// applied is the newest revision that a node says all its containers have, or as far as running ones can have it; -1:
// it has not said anything.
func (r *Reports) applied(node string, live bool) int64 {
	status, reported := r.statuses[node]
	switch {
	case !reported:
		return -1
	case live:
		return max(status.Live, status.Applied) // an agent from before there was Live does not say it
	}
	return status.Applied
}

// judgeOne fills in what the container's node says of it.
func (r *Reports) judgeOne(v *ContainerVersion, revision int64, live bool) {
	status := r.statuses[v.Node]
	applied := r.applied(v.Node, live)
	var lag record.Lag
	if i := slices.IndexFunc(status.Lagging, func(l record.Lag) bool { return l.Attachment == v.Attachment() }); i >= 0 {
		lag = status.Lagging[i]
	}
	counts, allNamed := lag.Reason != "" && !(live && lag.Remake), status.AllNamed(live)
	if v.Applied = max(applied, 0); !counts && allNamed {
		v.Applied = max(v.Applied, status.Revision)
	}
	switch {
	case applied >= 0 && v.Applied >= revision:
		v.UpToDate = true
		if live && lag.Remake {
			v.Reason, v.Remake = lag.Reason, true // it is reported all the same
		}
	case !slices.Contains(r.live, v.Node):
		v.Reason = fmt.Sprintf("node %s is away", v.Node)
	case applied < 0:
		v.Reason = fmt.Sprintf("node %s has not reported yet", v.Node)
	case counts:
		v.Reason, v.Remake = lag.Reason, lag.Remake
	case !allNamed && status.Revision >= revision:
		v.Reason = fmt.Sprintf("node %s has %d containers that lag and names %d of them", v.Node, status.LaggingCount, len(status.Lagging))
	default:
		v.Reason = fmt.Sprintf("node %s has applied revision %d only", v.Node, v.Applied)
	}
}
