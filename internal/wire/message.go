// Package wire is the protocol between the agent and its callers on this node: the CNI plugin, berthctl and other programs. It
// is one request and one response over a unix socket; the open network namespaces are sent with the request (SCM_RIGHTS,
// unix(7)), so that the agent needs no view of the caller's mounts.
package wire

import "net/netip"

// Version is the protocol's version. An agent also serves the version before its own, so that plugin and agent can
// be upgraded in either order.
const Version = 1

// The operations on a set of containers, and the verbs that are always on.
const (
	Read   = "read"   // CNI VERSION and CHECK, berthctl version
	Insert = "insert" // CNI ADD
	Delete = "delete" // CNI DEL
	Status = "status" // CNI STATUS
	GC     = "gc"     // CNI GC
)

// The roles in which a container reaches Berth.
const (
	Interface = "interface" // Berth makes the interface
	IPAM      = "ipam"      // another plugin makes it, Berth gives the address
)

// A Request names an operation and the containers that it is about.
type Request struct {
	Version    int          `json:"version"`
	Operation  string       `json:"operation"`
	Verb       string       `json:"verb,omitempty"`       // the caller's operation, for the log: ADD, CHECK …
	Started    int64        `json:"started,omitempty"`    // when the caller began, CLOCK_BOOTTIME in nanoseconds
	Containers Containers   `json:"containers,omitempty"` // read, insert, delete
	Each       bool         `json:"each,omitempty"`       // do what can be done, instead of all or nothing
	DryRun     bool         `json:"dryRun,omitempty"`     // delete: only say what would be given back
	Release    bool         `json:"release,omitempty"`    // delete: the reservations of stateful members end, too
	Select     *Select      `json:"select,omitempty"`     // read: the version of this set, wherever its containers are
	Network    string       `json:"network,omitempty"`    // status, gc
	Pool       string       `json:"pool,omitempty"`       // status
	Role       string       `json:"role,omitempty"`       // status
	Valid      []Attachment `json:"valid,omitempty"`      // gc: what must stay (CNI specification 1.1.0, "GC")
}

// An Attachment is one interface of one container of the request's network.
type Attachment struct {
	Container string `json:"container"`
	Interface string `json:"interface"`
}

// A Container is one member of a request's set: an attachment, its owner, and what it requests.
type Container struct {
	Network   string `json:"network"`
	ID        string `json:"id"`
	Interface string `json:"interface"`
	Role      string `json:"role,omitempty"`
	Netns     string `json:"netns,omitempty"`     // its path, as the caller sees it
	NetnsFile int    `json:"netnsFile,omitempty"` // its place, from 1, among the files beside the request; 0: none

	Class     string `json:"class,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	App       string `json:"app,omitempty"`
	Member    string `json:"member,omitempty"`

	Workload Workload `json:"workload,omitzero"` // what the orchestrator made it for

	Pool      string   `json:"pool,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // asked for: an address, or an address and prefix length
	MAC       string   `json:"mac,omitempty"`       // asked for

	Bridge string `json:"bridge,omitempty"` // role interface
	Uplink string `json:"uplink,omitempty"`
	IPMasq bool   `json:"ipMasq,omitempty"`

	Previous *Result `json:"previous,omitempty"` // CHECK: what ADD answered
}

// A Response answers a Request: either Error, and then nothing was done, or Results in the order of the containers.
type Response struct {
	Version  int         `json:"version"`
	Error    *Error      `json:"error,omitempty"`
	Results  []Result    `json:"results,omitempty"`  // in the order of the containers
	Revision *Revision   `json:"revision,omitempty"` // read without containers, and CHECK
	Node     string      `json:"node,omitempty"`     // with Revision: what this node is called in the cluster
	Set      *SetVersion `json:"set,omitempty"`      // read with Select
}

// A Result is what one container has been given.
type Result struct {
	Error     *Error    `json:"error,omitempty"` // with Request.Each: why this one was not done
	Class     string    `json:"class,omitempty"`
	Pool      string    `json:"pool,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Routes    []Route   `json:"routes,omitempty"`
	DNS       *DNS      `json:"dns,omitempty"`
	MAC       string    `json:"mac,omitempty"`       // of the container's interface; role interface
	HostName  string    `json:"hostName,omitempty"`  // the host-side port; role interface
	HostMAC   string    `json:"hostMAC,omitempty"`   // role interface
	Bridge    string    `json:"bridge,omitempty"`    // role interface
	BridgeMAC string    `json:"bridgeMAC,omitempty"` // role interface
	MTU       int       `json:"mtu,omitempty"`       // bytes
}

// An Address is one of a container's, with the prefix length of its pool.
type Address struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// A Route is one of a container's.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via,omitzero"`
}

// DNS is the name resolution that the runtime configures.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Revision is the version as this node knows it.
type Revision struct {
	Revision int64 `json:"revision"` // the cluster's configuration revision
	Applied  int64 `json:"applied"`  // what this node's containers have
	Complete bool  `json:"complete"` // whether this node's containers all have the cluster's
}
