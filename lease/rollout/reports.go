package rollout

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Reports are all that the version of a set is judged by, as it was at one revision of etcd. Whoever is asked for the
// version of many sets at once can read them once.
type Reports struct {
	keys         kv.Keys
	at, config   int64 // etcd's revision, and the configuration's
	settings     record.Settings
	live         []string
	nodes, pools map[string]bool
	statuses     map[string]record.Status
	assignments  []record.Assignment
	reservations []record.Reservation
	unreadable   []string
}

// Reports reads what concerns all sets.
func (s *Store) Reports(ctx context.Context) (*Reports, error) { return s.readReports(ctx, "") }

// Statuses are what the nodes say of themselves, by name. What one said before a restore of etcd is left out.
func (s *Store) Statuses(ctx context.Context) (map[string]record.Status, error) {
	return record.Statuses(ctx, s.kv)
}

// readReports reads in one transaction: what concerns the containers of one pool, or of all.
func (s *Store) readReports(ctx context.Context, pool string) (*Reports, error) {
	of := []string{}
	if pool != "" {
		of = append(of, pool)
	}
	t := kv.Transact("read version")
	revision, settings := t.Else(s.kv.Keys.Revision(), clientv3.WithKeysOnly()), t.Else(s.kv.Keys.Settings())
	sessions := t.Else(s.kv.Keys.Under(kv.KindSession), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	nodes := t.Else(s.kv.Keys.Under(kv.KindNode), clientv3.WithPrefix())
	statuses := record.StatusesIn(t, s.kv.Keys)
	pools := t.Else(s.kv.Keys.Under(kv.KindPool), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	assignments := t.Else(s.kv.Keys.Under(kv.KindAssignment, of...), clientv3.WithPrefix())
	reservations := t.Else(s.kv.Keys.Under(kv.KindReservation, of...), clientv3.WithPrefix())
	err := s.kv.Query(ctx, kv.ScanTime, t)
	if err != nil {
		return nil, err
	}
	r := &Reports{
		keys: s.kv.Keys, at: t.Revision(), config: revision.Revision(), settings: record.DefaultSettings(),
		nodes: map[string]bool{}, pools: map[string]bool{}, statuses: map[string]record.Status{},
	}
	if settings.Found() {
		if r.settings, err = record.SettingsCodec.Read(s.kv.Keys, settings.KVs[0]); err != nil {
			c, err := s.config.Read(ctx) // what the history says that they are to be
			if err != nil {
				return nil, err
			}
			r.settings = c.Settings
		}
	}
	known := s.kv.Keys.NodesOf(nodes.KVs)
	for _, kv := range sessions.KVs {
		// One of no node is nobody's: a node writes its key and its session's in one transaction.
		if key, err := s.kv.Keys.Parse(string(kv.Key)); err == nil && known[key.Node] {
			r.live = append(r.live, key.Node)
		}
	}
	for _, pair := range pools.KVs {
		r.pools[strings.TrimPrefix(string(pair.Key), s.kv.Keys.Under(kv.KindPool))] = true
	}
	for _, pair := range nodes.KVs {
		node, err := record.NodeCodec.Read(s.kv.Keys, pair)
		name := strings.TrimPrefix(string(pair.Key), s.kv.Keys.Under(kv.KindNode))
		r.nodes[name] = err != nil || node.Removed == nil
	}
	for _, status := range legible(r, s.kv.Keys, record.StatusCodec, statuses.Counting(t.Header)) {
		r.statuses[status.Node] = status
	}
	r.unreadable = nil // a node whose status cannot be read has not reported
	r.assignments = legible(r, s.kv.Keys, record.AssignmentCodec, assignments.KVs)
	r.reservations = legible(r, s.kv.Keys, record.ReservationCodec, reservations.KVs)
	return r, nil
}

// legible reads the records that can be read, and keeps the keys of the others.
func legible[T any](r *Reports, keys kv.Keys, f kv.Codec[T], kvs []*mvccpb.KeyValue) (records []T) {
	for _, kv := range kvs {
		record, err := f.Read(keys, kv)
		if err != nil {
			r.unreadable = append(r.unreadable, string(kv.Key))
			continue
		}
		records = append(records, record)
	}
	return records
}

// unreadableOf are the keys of the records that cannot be read and may be of containers in a pool, or in any.
func (r *Reports) unreadableOf(pool string) (keys []string) {
	for _, key := range r.unreadable {
		if pool == "" || strings.HasPrefix(key, r.keys.Under(kv.KindAssignment, pool)) ||
			strings.HasPrefix(key, r.keys.Under(kv.KindReservation, pool)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// containers are those that the selector's other words do not leave out, each attachment once, in their order.
func (r *Reports) containers(set Selector) []ContainerVersion {
	type place struct {
		node string
		at   allocator.Attachment
	}
	all := map[place]*ContainerVersion{}
	add := func(node string, at allocator.Attachment, addr netip.Addr, v ContainerVersion) {
		app := allocator.App{Namespace: v.Namespace, Name: v.App}
		if set.Node != "" && set.Node != node || set.Pool != "" && set.Pool != v.Pool || set.App != (allocator.App{}) && set.App != app {
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
		add(a.Node, a.Attachment, a.Address, ContainerVersion{
			Class: string(allocator.Stateless), Namespace: a.App.Namespace, App: a.App.Name, Workload: a.Workload.String(), Pool: a.Pool,
		})
	}
	for _, m := range r.reservations {
		if m.Holder != nil {
			add(m.Holder.Node, m.Holder.Attachment, m.Address, ContainerVersion{
				Class: string(allocator.Stateful), Namespace: m.Identity.Namespace, App: m.Identity.App, Member: m.Identity.Member,
				Workload: m.Holder.Workload.String(), Pool: m.Pool,
			})
		}
	}
	sorted := []ContainerVersion{}
	for v := range maps.Values(all) {
		slices.SortFunc(v.Addresses, netip.Addr.Compare)
		sorted = append(sorted, *v)
	}
	slices.SortFunc(sorted, func(a, b ContainerVersion) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Network, b.Network), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Interface, b.Interface))
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
