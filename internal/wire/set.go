package wire

import "net/netip"

// A Select names a set of containers, wherever they run. An empty field does not restrict it.
type Select struct {
	Containers []string `json:"containers,omitempty"` // IDs, or unique beginnings of IDs
	App        string   `json:"app,omitempty"`        // NAMESPACE/APP
	Node       string   `json:"node,omitempty"`
	Pool       string   `json:"pool,omitempty"`
	Live       bool     `json:"live,omitempty"` // do not count what only a new container can get
}

// A SetVersion says whether a set of containers has completed its configuration update.
type SetVersion struct {
	Revision   int64              `json:"revision"` // the cluster's configuration revision
	Complete   bool               `json:"complete"` // all containers of the set have it
	UpToDate   int                `json:"upToDate"` // how many containers have it
	Total      int                `json:"total"`
	Containers []ContainerVersion `json:"containers"`
	Nodes      []NodeVersion      `json:"nodes"` // live nodes that have not applied it yet

	Unreadable []string `json:"unreadable,omitempty"` // records in etcd that may be of the set's containers and cannot be read
}

// A ContainerVersion is one container of the set.
type ContainerVersion struct {
	Network   string       `json:"network"`
	ID        string       `json:"id"`
	Interface string       `json:"interface"`
	Node      string       `json:"node"`
	Class     string       `json:"class"`
	Namespace string       `json:"namespace,omitempty"`
	App       string       `json:"app,omitempty"`
	Member    string       `json:"member,omitempty"`
	Workload  string       `json:"workload,omitempty"` // NAMESPACE/NAME of the pod, or of another workload
	Pool      string       `json:"pool"`
	Addresses []netip.Addr `json:"addresses"`
	Applied   int64        `json:"applied"` // the configuration revision that it has
	UpToDate  bool         `json:"upToDate"`
	Reason    string       `json:"reason,omitempty"` // why it is not up to date
	Remake    bool         `json:"remake,omitempty"` // it has all that a running container can get, and must be recreated for the rest
}

// A NodeVersion is a live node and the configuration revision that all its containers have.
type NodeVersion struct {
	Node    string `json:"node"`
	Applied int64  `json:"applied"`
}
