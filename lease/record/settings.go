package record

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// The modes of fencing: what becomes of a container whose address may be another's.
const (
	// FencingEvidence: its agent isolates it once it learns that the address is another's. Availability comes first.
	FencingEvidence = "evidence"
	// FencingStrict: the node's kernel cuts it off when the node's right runs out, whatever has become of the agent, and
	// others wait for that.
	FencingStrict = "strict"
)

// ProbeUplink and ProbeOff say whether nodes ask the network behind an uplink who has an address before they give it out. The
// zero value means ProbeUplink.
const (
	ProbeUplink = "uplink"
	ProbeOff    = "off"
)

// Bounds of the times. Below them a node would lose its rights by the ordinary delays of etcd and of the machine.
const (
	MinSession      = 2 * time.Second
	minAddressLease = 6 * time.Second
)

// The operations on containers, which the settings switch on and off. What changes the configuration is none of them: it
// cannot be switched off, so that nobody can lock himself out.
const (
	OperationRead   = "read"   // CNI VERSION and CHECK; who has which address, and whether a set is up to date
	OperationInsert = "insert" // CNI ADD; reserve
	OperationDelete = "delete" // CNI DEL; release
)

var operations = []string{OperationRead, OperationInsert, OperationDelete}

// Settings hold for the whole cluster.
type Settings struct {
	Operations   []string           `json:"operations"`      // what may be done to containers; others are refused
	Fencing      string             `json:"fencing"`         // what becomes of a container whose address may be another's
	Probe        string             `json:"probe,omitempty"` // ProbeOff: the wire is not asked for hosts that nobody gave an address
	Session      allocator.Duration `json:"session"`         // how long a node counts as alive after it last renewed its session
	AddressLease allocator.Duration `json:"addressLease"`    // how long a node may allocate what it owns while etcd is away

	// StatusExhausted has CNI STATUS fail on a node where an ADD has waited in vain for an address within the last minute.
	StatusExhausted bool `json:"statusExhausted,omitempty"`

	VXLAN VXLAN `json:"vxlan,omitzero"` // between nodes, for pools in the modes vxlan and auto
}

// DefaultSettings are those of a cluster that nobody has configured.
func DefaultSettings() Settings {
	return Settings{
		Operations: slices.Clone(operations), Fencing: FencingEvidence, Probe: ProbeUplink,
		Session: allocator.Duration(15 * time.Second), AddressLease: allocator.Duration(time.Hour),
	}
}

// SameTimes reports whether a node fences in the same way under both.
func SameTimes(a, b Settings) bool {
	return a.Fencing == b.Fencing && a.Session == b.Session && a.AddressLease == b.AddressLease
}

// Validate reports the first thing that cannot be.
func (s Settings) Validate() error {
	seen := map[string]bool{}
	for _, o := range s.Operations {
		switch {
		case !slices.Contains(operations, o):
			return fmt.Errorf("settings: operations: %q is none: want some of %s", o, strings.Join(operations, ", "))
		case seen[o]:
			return fmt.Errorf("settings: operations: %q is there twice", o)
		}
		seen[o] = true
	}
	if err := s.VXLAN.validate(); err != nil {
		return err
	}
	switch {
	case s.Fencing != FencingEvidence && s.Fencing != FencingStrict:
		return fmt.Errorf("settings: fencing: there is no mode %q: want %q or %q", s.Fencing, FencingEvidence, FencingStrict)
	case s.Probe != "" && s.Probe != ProbeUplink && s.Probe != ProbeOff:
		return fmt.Errorf("settings: probe: %q is none: want %q or %q", s.Probe, ProbeUplink, ProbeOff)
	case time.Duration(s.Session) < MinSession:
		return fmt.Errorf("settings: session %s: want %s or more", s.Session, MinSession)
	case time.Duration(s.AddressLease) < minAddressLease:
		return fmt.Errorf("settings: addressLease %s: want %s or more", s.AddressLease, minAddressLease)
	case s.AddressLease > allocator.MaxTime:
		return fmt.Errorf("settings: addressLease %s: want %s at most", s.AddressLease, allocator.MaxTime)
	case s.AddressLease < s.Session:
		return fmt.Errorf("settings: addressLease %s is shorter than session %s: want at least as long", s.AddressLease, s.Session)
	}
	return nil
}

// Allow is the gate before every operation, on whatever way it comes: it fails with *OperationError unless the settings
// switch the operation on.
func (s Settings) Allow(operation string) error {
	if slices.Contains(s.Operations, operation) {
		return nil
	}
	return &OperationError{Operation: operation, Known: slices.Contains(operations, operation), Valid: slices.Clone(s.Operations)}
}

// An OperationError says that an operation is unknown, or that the settings switch it off. Nothing was done.
type OperationError struct {
	Operation string
	Known     bool     // it is switched off
	Valid     []string // those that are switched on
}

func (e *OperationError) Error() string {
	valid := "valid are " + strings.Join(e.Valid, ", ")
	if len(e.Valid) == 0 {
		valid = "all are switched off"
	}
	if !e.Known {
		return fmt.Sprintf("lease: operation %q is unknown: %s", e.Operation, valid)
	}
	return fmt.Sprintf("lease: operation %q is switched off by the settings (operations): %s; \"berthctl apply\" switches it on",
		e.Operation, valid)
}
