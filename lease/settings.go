package lease

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
	minSession      = 2 * time.Second
	minAddressLease = 6 * time.Second
)

// operations are those that can be switched on and off.
var operations = []string{"read", "insert", "delete"}

// Settings hold for the whole cluster.
type Settings struct {
	Operations   []string           `json:"operations"`      // what may be done to containers; others are refused
	Fencing      string             `json:"fencing"`         // what becomes of a container whose address may be another's
	Probe        string             `json:"probe,omitempty"` // ProbeOff: the wire is not asked for hosts that nobody gave an address
	Session      allocator.Duration `json:"session"`         // how long a node counts as alive after it was last heard of
	AddressLease allocator.Duration `json:"addressLease"`    // how long a node may hand out what it owns while etcd is away

	// StatusExhausted has CNI STATUS fail on a node where an ADD has waited in vain for an address within the last minute.
	StatusExhausted bool `json:"statusExhausted,omitempty"`
}

// DefaultSettings are those of a cluster that nobody has configured.
func DefaultSettings() Settings {
	return Settings{
		Operations: slices.Clone(operations), Fencing: FencingEvidence, Probe: ProbeUplink,
		Session: allocator.Duration(15 * time.Second), AddressLease: allocator.Duration(time.Hour),
	}
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
	switch {
	case s.Fencing != FencingEvidence && s.Fencing != FencingStrict:
		return fmt.Errorf("settings: fencing: there is no mode %q: want %q or %q", s.Fencing, FencingEvidence, FencingStrict)
	case s.Probe != "" && s.Probe != ProbeUplink && s.Probe != ProbeOff:
		return fmt.Errorf("settings: probe: %q is none: want %q or %q", s.Probe, ProbeUplink, ProbeOff)
	case time.Duration(s.Session) < minSession:
		return fmt.Errorf("settings: session %s: want %s or more", s.Session, minSession)
	case time.Duration(s.AddressLease) < minAddressLease:
		return fmt.Errorf("settings: addressLease %s: want %s or more", s.AddressLease, minAddressLease)
	case s.AddressLease < s.Session:
		return fmt.Errorf("settings: addressLease %s is shorter than session %s: want at least as long", s.AddressLease, s.Session)
	}
	return nil
}
