package rollout

import (
	"cmp"
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
)

// A Store is how far the configuration has come: what nodes publish, and the version of sets.
type Store struct {
	kv     *kv.Client
	config *config.Store
}

// New is the store of a client, with that of its configuration.
func New(kv *kv.Client, config *config.Store) *Store { return &Store{kv, config} }

// A SetVersion says whether a set of containers has completed its configuration update: the version. It is what
// `berthctl version -o json`, the agent's socket and GET /v1/version answer.
//
// A set that is named by its containers is complete when all of them have the revision. One that is named by app or
// pool, and the set of all, is complete only when moreover every node with a live session has applied it, and one of a
// node when that node has, if it is live: an agent says so not before it has published every container that it wired
// under an older revision. So the version never says complete too early.
//
// Some of a configuration reaches only containers that are made after it: name resolution, and where another plugin made
// the interface its MTU, routes and gateways. A container that lacks some of that is not up to date before it is made
// anew, unless the selector says Live.
type SetVersion struct {
	Revision   int64              `json:"revision"`   // the cluster's configuration revision, or the one that was asked about
	Complete   bool               `json:"complete"`   // the whole set has it
	UpToDate   int                `json:"upToDate"`   // how many containers have it
	Total      int                `json:"total"`      // how many there are
	Containers []ContainerVersion `json:"containers"` // by node, network, ID and interface
	Nodes      []NodeVersion      `json:"nodes"`      // live nodes of the set that have not applied it yet, by name

	Unreadable []string `json:"unreadable,omitempty"` // records that may be of the set's containers and cannot be read
}

// A ContainerVersion is one attachment of the set.
type ContainerVersion struct {
	Network   string       `json:"network"`
	ID        string       `json:"id"`
	Interface string       `json:"interface"`
	Node      string       `json:"node"`
	Class     string       `json:"class"`
	Namespace string       `json:"namespace,omitempty"`
	App       string       `json:"app,omitempty"`
	Member    string       `json:"member,omitempty"`
	Workload  string       `json:"workload,omitempty"` // NAMESPACE/NAME of the pod, or of what else it was made for
	Pool      string       `json:"pool"`
	Addresses []netip.Addr `json:"addresses"`
	Applied   int64        `json:"applied"` // a configuration revision that it has for certain
	UpToDate  bool         `json:"upToDate"`
	Reason    string       `json:"reason,omitempty"` // why it is not up to date
	Remake    bool         `json:"remake,omitempty"` // it has all that a running container can get, and must be made anew for the rest
}

// Attachment is the container's one interface that v is about.
func (v *ContainerVersion) Attachment() allocator.Attachment {
	return allocator.Attachment{Network: v.Network, Container: v.ID, Interface: v.Interface}
}

// A NodeVersion is a node and the newest configuration revision that all its containers have.
type NodeVersion struct {
	Node    string `json:"node"`
	Applied int64  `json:"applied"`
}

// Version says how far the present configuration has come in a set of containers, all of it read at one revision of
// etcd. It fails with *SelectorError where the set names nothing, and with *OperationError where the settings switch
// reading off.
func (s *Store) Version(ctx context.Context, set Selector) (*SetVersion, error) {
	r, err := s.readReports(ctx, set.Pool)
	if err != nil {
		return nil, err
	}
	return r.Version(set)
}

// WaitVersion waits until a set has completed the update to a revision; 0 is the present one, whatever that is by
// then. It calls progress, if that is not nil, with each state that it reads, the complete one too. It outlasts times
// without etcd. When ctx ends it returns the last state that it has read, nil if none, and ctx's error.
func (s *Store) WaitVersion(ctx context.Context, set Selector, revision int64, progress func(*SetVersion)) (*SetVersion, error) {
	var last *SetVersion
	for {
		r, err := s.readReports(ctx, set.Pool)
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case err == nil:
			v, err := r.version(set, cmp.Or(revision, r.config), last != nil)
			if err != nil {
				return last, err
			}
			if progress != nil {
				progress(v)
			}
			if last = v; v.Complete {
				return v, nil
			}
			// Every batch of assignments comes with a status.
			keys := s.kv.Keys
			s.kv.Changed(ctx, r.at, keys.Revision(), keys.Settings(), keys.Under(kv.KindSession), keys.Under(kv.KindStatus),
				keys.Under(kv.KindReservation))
		case !kv.Unavailable(err):
			return last, err
		}
		_ = task.Pause(ctx, kv.GatherTime)
	}
}
