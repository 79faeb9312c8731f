// Package check decides whether a history of a cluster keeps what Berth promises. It believes the network, which a
// watcher has asked who has which address, and the requests' begins, ends and answers; it does not ask Berth.
package check

import (
	"net/netip"
	"time"
)

// All times count from one instant on one monotonic clock.

// A MAC names the container that answers: each has one of its own.
type MAC [6]byte

// A Sighting is an answer on the network: at some instant from Sent to At, who has this MAC had this address.
type Sighting struct {
	Sent, At time.Duration
	Address  netip.Addr
	MAC      MAC
	Via      string // the node by whose route the question went; empty where containers share a link with whoever asks
}

// A Way is where a node's kernel led to an address from Begin to End.
type Way struct {
	Node       string
	Address    netip.Addr
	To         string        // a node's name, the same one's where it leads to a container of its own; empty: nowhere
	Begin, End time.Duration // it was seen first at Begin, and last at End
}

// A Miss is a request for an address, to the one who had answered before, that nobody answered.
type Miss struct {
	Sent    time.Duration
	Address netip.Addr
	To      MAC
}

// A Verb is what was asked for: one of CNI's, or Release, which gives a member's reservation up.
type Verb string

// The verbs.
const (
	Add     Verb = "ADD"
	Del     Verb = "DEL"
	Check   Verb = "CHECK"
	GC      Verb = "GC"
	Release Verb = "RELEASE"
)

// An Outcome is what a caller knows of a request after its end.
type Outcome string

// The outcomes. An ADD or a DEL that was not answered with success may have taken effect all the same, and may yet.
const (
	OK      Outcome = "ok"
	Refused Outcome = "refused" // by an answer that says so
	Lost    Outcome = "lost"    // no answer
)

// An Operation is one request.
type Operation struct {
	Verb       Verb
	Container  string
	Node       string
	Member     string // of a stateful app; empty: stateless
	MAC        MAC
	Begin, End time.Duration
	Outcome    Outcome
	Addresses  []netip.Addr // that an ADD answered
	Words      string       // of the error
}

// An Absence is a time in which a node has no agent that runs, or in which nobody on it gets an answer from etcd.
type Absence struct {
	Node       string
	Reason     string
	Begin, End time.Duration
}

// A Revocation is the end of a node's session by hand.
type Revocation struct {
	Node string
	At   time.Duration
}

// A Fault is what was broken meanwhile, for people to read: what it did to a node is told by absences.
type Fault struct {
	What       string
	Node       string // empty: everyone
	Begin, End time.Duration
}

// A Reboot ends every container of a node that began before.
type Reboot struct {
	Node string
	At   time.Duration
}

// A Restore brought etcd back to what it held at Taken.
type Restore struct{ Taken, At time.Duration }

// A History is all that happened. Its slices need no order, but Turns.
type History struct {
	Operations  []Operation
	Sightings   []Sighting
	Missed      []Miss
	Turns       []Turn // in their order
	Absences    []Absence
	Revocations []Revocation
	Sessionless []Absence // when etcd had no session of a node, whatever the cause
	Reboots     []Reboot
	Restores    []Restore
	Faults      []Fault
	Ways        []Way    // of members' addresses, in their order for each node and address; none where nobody routes
	Nodes       []string // by whose routes the network is asked; none where containers share a link with whoever asks
	// Whole is when the last fault had ended and its traces had been given time to go; the sightings from then until End
	// tell who is there when all is well.
	Whole, End time.Duration
}

// Rules are what the cluster promises.
type Rules struct {
	Strict       bool
	Session      time.Duration // the right of stateful attachments
	AddressLease time.Duration // that of stateless ones
}

// All gives every violation of every rule, and the number of identities whose history was too tangled to be decided.
func All(h *History, rules Rules) (violations []Violation, undecided int) {
	x := newIndex(h, rules)
	violations = append(violations, x.unique()...)
	violations = append(violations, x.kept()...)
	violations = append(violations, x.notLost()...)
	violations = append(violations, x.neverHeard()...)
	violations = append(violations, x.silent()...)
	violations = append(violations, x.misled()...)
	registers, undecided := x.registers()
	return append(violations, registers...), undecided
}
