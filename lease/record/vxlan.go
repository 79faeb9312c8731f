package record

import (
	"cmp"
	"fmt"
)

// VXLAN is what the nodes' tunnels to each other have in common (RFC 7348). A number that is 0 is DefaultVXLAN's.
type VXLAN struct {
	ID   uint32 `json:"id,omitempty"`   // the network's identifier, of 24 bits (RFC 7348, section 5)
	Port uint16 `json:"port,omitempty"` // UDP, to which tunnelled packets go
}

// DefaultVXLAN has the port that RFC 7348 has assigned.
var DefaultVXLAN = VXLAN{ID: 98, Port: 4789}

const maxVXLAN = 1<<24 - 1

// Whole has both numbers.
func (v VXLAN) Whole() VXLAN {
	return VXLAN{cmp.Or(v.ID, DefaultVXLAN.ID), cmp.Or(v.Port, DefaultVXLAN.Port)}
}

func (v VXLAN) validate() error {
	if v.ID > maxVXLAN {
		return fmt.Errorf("settings: vxlan id %d: want 1 to %d", v.ID, maxVXLAN)
	}
	return nil
}
