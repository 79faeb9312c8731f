package lease

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// reports are all that the version of a set is judged by, as it was at one revision of etcd.
type reports struct {
	at, config   int64 // etcd's revision, and the configuration's
	live         []string
	statuses     map[string]Status
	assignments  []Assignment
	reservations []Reservation
}

// readReports reads in one transaction, and fails if the set's node or pool is not there.
func (s *Store) readReports(ctx context.Context, set Selector) (*reports, error) {
	of := func(kind Kind) clientv3.Op {
		if set.Pool != "" {
			return clientv3.OpGet(s.keys.Under(kind, set.Pool), clientv3.WithPrefix())
		}
		return clientv3.OpGet(s.keys.Under(kind), clientv3.WithPrefix())
	}
	response, err := s.consult(ctx, scanTime, "read version",
		clientv3.OpGet(s.keys.revision(), clientv3.WithKeysOnly()),
		clientv3.OpGet(s.keys.Under(KindSession), clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		clientv3.OpGet(s.keys.Under(KindStatus), clientv3.WithPrefix()),
		of(KindAssignment), of(KindReservation),
		clientv3.OpGet(s.keys.node(cmp.Or(set.Node, "-")), clientv3.WithKeysOnly()),
		clientv3.OpGet(s.keys.pool(cmp.Or(set.Pool, "-")), clientv3.WithKeysOnly()))
	if err != nil {
		return nil, err
	}
	switch {
	case set.Node != "" && len(found(response, 5)) == 0:
		return nil, &SelectorError{What: "node", Name: set.Node}
	case set.Pool != "" && len(found(response, 6)) == 0:
		return nil, &SelectorError{What: "pool", Name: set.Pool}
	}
	r := &reports{at: response.Header.Revision, config: revisionOf(found(response, 0)), statuses: map[string]Status{}}
	for _, kv := range found(response, 1) {
		r.live = append(r.live, strings.TrimPrefix(string(kv.Key), s.keys.Under(KindSession)))
	}
	statuses, err := statusForm.readAll(s.keys, found(response, 2))
	if err != nil {
		return nil, err
	}
	for _, status := range statuses {
		r.statuses[status.Node] = status
	}
	if r.assignments, err = assignmentForm.readAll(s.keys, found(response, 3)); err != nil {
		return nil, err
	}
	r.reservations, err = reservationForm.readAll(s.keys, found(response, 4))
	return r, err
}

// judge says of the set's containers whether they have a revision.
func (r *reports) judge(set Selector, revision int64) (*SetVersion, error) {
	containers, err := pick(r.containers(set), set.Containers)
	if err != nil {
		return nil, err
	}
	v := &SetVersion{Revision: revision, Total: len(containers), Containers: containers, Nodes: []NodeVersion{}}
	for i := range containers {
		r.judgeOne(&containers[i], revision)
		if containers[i].UpToDate {
			v.UpToDate++
		}
	}
	for _, node := range r.live {
		if applied := r.statuses[node].Applied; r.concerns(set, node) && !r.applied(node, revision) {
			v.Nodes = append(v.Nodes, NodeVersion{node, applied})
		}
	}
	v.Complete = v.UpToDate == v.Total && len(v.Nodes) == 0
	return v, nil
}

// concerns reports whether containers of the set can be on a node that no record tells of yet.
func (r *reports) concerns(set Selector, node string) bool {
	return len(set.Containers) == 0 && (set.Node == "" || set.Node == node)
}

func (r *reports) applied(node string, revision int64) bool {
	status, reported := r.statuses[node]
	return reported && status.Applied >= revision
}

// judgeOne fills in what the container's node says of it.
func (r *reports) judgeOne(v *ContainerVersion, revision int64) {
	status, reported := r.statuses[v.Node]
	lag := slices.IndexFunc(status.Lagging, func(l Lag) bool { return l.Attachment == v.Attachment() })
	allNamed := status.LaggingCount == len(status.Lagging)
	v.Applied = status.Applied
	if lag < 0 && allNamed {
		v.Applied = max(status.Applied, status.Revision)
	}
	switch {
	case reported && v.Applied >= revision:
		v.UpToDate = true
	case !slices.Contains(r.live, v.Node):
		v.Reason = fmt.Sprintf("node %s is away", v.Node)
	case !reported:
		v.Reason = fmt.Sprintf("node %s has not reported yet", v.Node)
	case lag >= 0:
		v.Reason = status.Lagging[lag].Reason
	case !allNamed && status.Revision >= revision:
		v.Reason = fmt.Sprintf("node %s has %d containers that lag and names %d of them", v.Node, status.LaggingCount, len(status.Lagging))
	default:
		v.Reason = fmt.Sprintf("node %s has applied revision %d only", v.Node, v.Applied)
	}
}

// containers are those that the selector's other words do not leave out, each attachment once, in their order.
func (r *reports) containers(set Selector) []ContainerVersion {
	type place struct {
		node string
		at   allocator.Attachment
	}
	all := map[place]*ContainerVersion{}
	add := func(node string, at allocator.Attachment, addr netip.Addr, v ContainerVersion) {
		if set.Node != "" && set.Node != node || set.App != (allocator.App{}) && set.App != (allocator.App{Namespace: v.Namespace, Name: v.App}) {
			return
		}
		known := all[place{node, at}]
		if known == nil {
			v.Network, v.ID, v.Interface, v.Node = at.Network, at.Container, at.Interface, node
			known = &v
			all[place{node, at}] = known
		}
		known.Addresses = append(known.Addresses, addr)
	}
	for _, a := range r.assignments {
		add(a.Node, a.Attachment, a.Address, ContainerVersion{Class: string(allocator.Stateless), Namespace: a.App.Namespace, App: a.App.Name, Workload: a.Workload.String(), Pool: a.Pool})
	}
	for _, m := range r.reservations {
		if m.Holder != nil {
			add(m.Holder.Node, m.Holder.Attachment, m.Address, ContainerVersion{
				Class: string(allocator.Stateful), Namespace: m.Identity.Namespace, App: m.Identity.App, Member: m.Identity.Member, Workload: m.Holder.Workload.String(), Pool: m.Pool,
			})
		}
	}
	sorted := []ContainerVersion{}
	for v := range maps.Values(all) {
		slices.SortFunc(v.Addresses, netip.Addr.Compare)
		sorted = append(sorted, *v)
	}
	slices.SortFunc(sorted, func(a, b ContainerVersion) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Network, b.Network), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Interface, b.Interface))
	})
	return sorted
}

// pick keeps those that are named, by an ID or the beginning of one; without names, all.
func pick(all []ContainerVersion, names []string) ([]ContainerVersion, error) {
	if len(names) == 0 {
		return all, nil
	}
	ids := map[string]bool{}
	for _, v := range all {
		ids[v.ID] = true
	}
	wanted := map[string]bool{}
	for _, name := range names {
		id, err := meant(ids, name)
		if err != nil {
			return nil, err
		}
		wanted[id] = true
	}
	return slices.DeleteFunc(all, func(v ContainerVersion) bool { return !wanted[v.ID] }), nil
}

// meant is the one ID that is name or begins with it.
func meant(ids map[string]bool, name string) (string, error) {
	if ids[name] {
		return name, nil
	}
	var candidates []string
	for id := range ids {
		if name != "" && strings.HasPrefix(id, name) {
			candidates = append(candidates, id)
		}
	}
	if len(candidates) != 1 {
		slices.Sort(candidates)
		return "", &SelectorError{What: "container", Name: name, Candidates: candidates}
	}
	return candidates[0], nil
}
