package record

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
)

// Records are what the keys hold, as JSON. A field that the key says is filled in when a record is read, and left out
// when it is written; so is Revision, the mod revision of the record's key.

// The owners of parts that are no node's. No node may be called so.
const (
	OwnerStateful = "stateful" // reservations lie in it
	OwnerMachine  = "machine"  // it is an address of a node itself: the part's Node says whose
)

// ValidNode reports what keeps a word from being a node's name; what is the word's place, for the error.
func ValidNode(what, name string) error {
	if name == OwnerStateful || name == OwnerMachine {
		return fmt.Errorf("%s %q: the word marks parts of blocks that are no node's to allocate, and no node may be called so", what, name)
	}
	return allocator.ValidName(what, name)
}

// A Cluster says which etcd cluster the state belongs to. Every transaction that gives a node something compares its key's mod
// revision. While the id is not that of the etcd that answers, nobody is given anything.
type Cluster struct {
	ID          string    `json:"id"` // etcd's own cluster id, in hexadecimal; empty: it was voided, since etcd had gone back
	Accepted    time.Time `json:"accepted"`
	Incarnation int64     `json:"life,omitempty"`   // the incarnation of the state: how often it began anew, after a restore
	Former      []string  `json:"former,omitempty"` // the ids before: a journal of theirs is of this state
}

// A Node is a machine that runs the agent. Its key's mod revision is the generation: every start of an agent, and
// every regain of the session, rewrites it.
type Node struct {
	Name    string `json:"name"`
	Machine string `json:"machine"` // the one machine that may use this name
	Boot    string `json:"boot"`    // its containers live as long
	Journal string `json:"journal"` // the id of the journal that the agent writes
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"`

	// Hops are where other nodes send what is for this node's containers in routed pools: at most one address of each family.
	Hops []netip.Addr `json:"hops,omitempty"`

	// How the node fences itself: another node that waits for its rights to run out counts by this.
	Fencing      string             `json:"fencing"`
	Session      allocator.Duration `json:"session"`
	AddressLease allocator.Duration `json:"addressLease"`

	Started  time.Time  `json:"started"`
	Removed  *time.Time `json:"removed,omitempty"` // a tombstone: since then the name is free
	Revision int64      `json:"revision,omitempty"`
}

// A Status is what a node says of itself. Its key is also the node's publishing counter: every batch compares its mod
// revision and rewrites it.
type Status struct {
	Node         string `json:"node,omitempty"` // in the key
	Address      string `json:"address,omitempty"`
	Version      string `json:"version,omitempty"`
	Applied      int64  `json:"applied"`        // the newest configuration revision that every container has
	Live         int64  `json:"live,omitempty"` // the newest one that every container has as far as a running one can get it
	Revision     int64  `json:"revision"`       // the one that Lagging is about: every container has it but for those
	Containers   int    `json:"containers"`
	Lagging      []Lag  `json:"lagging,omitempty"` // not all of them, if they are many
	LaggingCount int    `json:"laggingCount"`
	RemakeCount  int    `json:"remakeCount,omitempty"` // how many of them have what a running one can get
	Batch        int64  `json:"batch"`                 // counts what was published; Publish sets it

	Findings      []NodeFinding `json:"findings,omitempty"` // what is wrong on the node; not all of it, if it is much
	FindingsCount int           `json:"findingsCount,omitempty"`
}

// A NodeFinding is something that is wrong on a node, until it is repaired.
type NodeFinding struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`          // what it is about: a key, a link, an address
	Text    string    `json:"text"`             // what is wrong, and why
	Advice  string    `json:"advice,omitempty"` // what a person does about it, or what the agent does by itself
	Since   time.Time `json:"since"`
}

// A Lag is a container that does not have the configuration yet, and why.
type Lag struct {
	Attachment allocator.Attachment `json:"attachment"`
	Reason     string               `json:"reason"`
	Remake     bool                 `json:"remake,omitempty"` // it has all that a running one can get, and must be made anew for the rest
}

// A Part of a block belongs to one owner: a node, OwnerStateful, or OwnerMachine.
type Part struct {
	Prefix netip.Prefix `json:"prefix"`
	Owner  string       `json:"owner"`
	Node   string       `json:"node,omitempty"`  // OwnerMachine: the node that has the address on an interface of its own
	Taken  bool         `json:"taken,omitempty"` // from an absent owner: an address is probed before its first use
}

// A Block is an aligned part of a pool, of the pool's block size. Usually it has one Part. The parts are in order and as
// few as say the same; what none of them covers is nobody's.
type Block struct {
	Pool     string       `json:"pool,omitempty"` // in the key
	Prefix   netip.Prefix `json:"prefix"`
	Parts    []Part       `json:"parts"`
	Revision int64        `json:"revision,omitempty"`
}

// ID tells the block from all others.
func (b Block) ID() ipam.BlockID { return ipam.BlockID{Pool: b.Pool, Prefix: b.Prefix} }

// A Demand says that ADDs of a node wait for addresses of a pool. It ends with the node's session.
type Demand struct {
	Pool     string    `json:"pool,omitempty"` // in the key
	Node     string    `json:"node,omitempty"` // in the key
	V4       int       `json:"v4,omitempty"`   // how many waited when it was written
	V6       int       `json:"v6,omitempty"`
	Since    time.Time `json:"since"`
	Revision int64     `json:"revision,omitempty"`

	Addresses []netip.Addr `json:"addresses,omitempty"` // those that are waited for by name, of whatever owner
	Machine   []netip.Addr `json:"machine,omitempty"`   // those that the node itself has, and that others own
}

// Of is how many addresses of a family were waited for.
func (d *Demand) Of(f allocator.Family) int {
	if f == allocator.V4 {
		return d.V4
	}
	return d.V6
}

// An Assignment is a stateless address and who has it. It is what people read; the block decides who may use it.
type Assignment struct {
	Pool       string               `json:"pool,omitempty"`   // in the key
	Address    netip.Addr           `json:"address,omitzero"` // in the key
	Attachment allocator.Attachment `json:"attachment"`
	App        allocator.App        `json:"app,omitzero"`
	Workload   allocator.Workload   `json:"workload,omitzero"` // for people
	Node       string               `json:"node"`
	Since      time.Time            `json:"since"`
}

// A Reservation is the address of a member of a stateful app. It outlives containers, nodes and agents.
type Reservation struct {
	Pool     string             `json:"pool,omitempty"`   // in the key
	Address  netip.Addr         `json:"address,omitzero"` // in the key
	Identity allocator.Identity `json:"identity"`
	Since    time.Time          `json:"since"`
	Ended    *time.Time         `json:"ended,omitempty"`   // when its owner ended, if it has
	LastDel  *time.Time         `json:"lastDel,omitempty"` // when it was last detached
	Epoch    int64              `json:"epoch"`             // raised whenever it is attached
	Holder   *Holder            `json:"holder,omitempty"`  // nil: nobody has it now
	Revision int64              `json:"revision,omitempty"`
}

// A Holder is the attachment that has a reservation now.
type Holder struct {
	Attachment allocator.Attachment `json:"attachment"`
	Workload   allocator.Workload   `json:"workload,omitzero"` // for people
	Node       string               `json:"node"`
	Since      time.Time            `json:"since"`
}

// Is reports whether h is the attachment a on a node.
func (h *Holder) Is(a allocator.Attachment, node string) bool {
	return h != nil && h.Attachment == a && h.Node == node
}

// An IdentityRecord says where the reservations of an identity are: one of each of the pool's families.
type IdentityRecord struct {
	Pool      string       `json:"pool"`
	Addresses []netip.Addr `json:"addresses"`
}

// A Presence is the record of a session: its node is there.
type Presence struct {
	Node     string    `json:"node,omitempty"` // in the key
	Since    time.Time `json:"since"`
	Revision int64     `json:"revision,omitempty"` // the node's generation: one transaction writes both
}

// SortBy puts records into the order in which people count addresses.
func SortBy[T any](records []T, by func(T) (string, netip.Addr)) {
	slices.SortFunc(records, func(a, b T) int {
		poolA, addrA := by(a)
		poolB, addrB := by(b)
		if c := strings.Compare(poolA, poolB); c != 0 {
			return c
		}
		return addrA.Compare(addrB)
	})
}

// AllNamed reports whether the status names every container that lags; of those that lag live, if only they count.
func (s *Status) AllNamed(live bool) bool {
	if !live {
		return s.LaggingCount == len(s.Lagging)
	}
	named := 0
	for _, l := range s.Lagging {
		if !l.Remake {
			named++
		}
	}
	return s.LaggingCount-s.RemakeCount == named
}
