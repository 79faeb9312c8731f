package doctor

import (
	"cmp"
	"strings"

	"github.com/berth-ipam/berth/lease/admin"
)

// A Kind says what a finding is about. Scripts build on the words. Nodes have kinds of their own for what they find wrong
// on themselves (see agent/findings).
type Kind string

const (
	NodeAway       Kind = "node-away"       // known, and without a session
	NodeSilent     Kind = "node-silent"     // it has a session and does not answer
	NodeUnreported Kind = "node-unreported" // it has a session and no status
	NodeBehind     Kind = "node-behind"     // a container of it does not have the configuration
	SessionUnknown Kind = "session-unknown" // of no node
	SessionLasting Kind = "session-lasting" // it would never end
	StatusUnknown  Kind = "status-unknown"  // of no node
	DemandUnknown  Kind = "demand-unknown"  // of a node without a session
	ClusterDiffers Kind = "cluster-differs" // the state is another etcd's

	KeyUnreadable    Kind = "key-unreadable"
	RecordUnreadable Kind = "record-unreadable"

	BlockNoPool     Kind = "block-no-pool"
	BlockMalformed  Kind = "block-malformed"
	BlockNoRange    Kind = "block-no-range"    // kept for reservations, and no stateful range has it
	PartInRange     Kind = "part-in-range"     // a node's, in a stateful range
	PartUnknownNode Kind = "part-unknown-node" // of no node
	PartRemovedNode Kind = "part-removed-node"
	PartUnrecorded  Kind = "part-unrecorded" // a node allocates from what etcd does not say is its own
	PartUnused      Kind = "part-unused"     // etcd says that it is a node's, which does not use it: a note

	AddressExcluded Kind = "address-excluded" // in use, and not to be given out any more: a note
	AddressTwice    Kind = "address-twice"    // two containers have it

	AssignmentOutsidePool Kind = "assignment-outside-pool"
	AssignmentReserved    Kind = "assignment-reserved" // the address has a reservation, too
	AssignmentUnknownNode Kind = "assignment-unknown-node"
	AssignmentNoContainer Kind = "assignment-no-container"
	AssignmentNoPart      Kind = "assignment-no-part" // in no part of the node's

	ReservationOutside     Kind = "reservation-outside"      // of its pool, or of the stateful ranges
	ReservationNoBlock     Kind = "reservation-no-block"     // its block is not kept for reservations
	ReservationUnknownNode Kind = "reservation-unknown-node" // attached to no node, or a removed one
	ReservationAwayNode    Kind = "reservation-away-node"
	ReservationNoContainer Kind = "reservation-no-container"
	ReservationNoIdentity  Kind = "reservation-no-identity"
	ReservationSecond      Kind = "reservation-second" // of one identity
	IdentityNoReservation  Kind = "identity-no-reservation"
	IdentityElsewhere      Kind = "identity-elsewhere" // its address is another's

	ContainerUnassigned Kind = "container-unassigned"
	ContainerUnreserved Kind = "container-unreserved"
	ContainerIsolated   Kind = "container-isolated"
	PortMissing         Kind = "port-missing"
	PortStray           Kind = "port-stray"
	PortClass           Kind = "port-class"         // in the wrong class, or in none
	ClassWithoutPort    Kind = "class-without-port" // a class names a port that is not there

	NoteUnreadable Kind = "note-unreadable"
)

// A Finding is one disagreement.
type Finding struct {
	Kind      Kind   `json:"kind"`
	Note      bool   `json:"note,omitempty"` // good to know: nothing is wrong
	Key       string `json:"key,omitempty"`  // in etcd
	Node      string `json:"node,omitempty"`
	Container string `json:"container,omitempty"` // NETWORK/ID/INTERFACE
	Cause     string `json:"cause"`
	Repair    string `json:"mend"` // the command that repairs it, or what a person has to do
	Fix       bool   `json:"fix"`  // Fix does it

	repair *admin.Repair // for etcd
	takes  bool          // by what it advises somebody loses an address, a block, a port
	ask    []string      // nodes that repair it by settling anew
	mark   string        // what else distinguishes it from another of its kind: who, under which revision
}

// id is the same for what is found twice.
func (f *Finding) id() string {
	return strings.Join([]string{string(f.Kind), f.Key, f.Node, f.Container, f.mark}, "\x00")
}

// where is what people look for first.
func (f *Finding) where() string { return cmp.Or(f.Key, f.Node) }
