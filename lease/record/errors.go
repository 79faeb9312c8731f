package record

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrStaleConfig says that the pool was changed since the configuration that the caller knows.
var ErrStaleConfig = errors.New("lease: the pool has changed: read the configuration again")

// A TakenError says that a change of the configuration would take an address from who has it.
type TakenError struct {
	Pool    string
	What    string // what the address would become, such as "the gateway"
	Address netip.Addr
	Holder  string // in words
	Advice  string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("lease: pool %q: %s cannot become %s: %s: %s", e.Pool, e.Address, e.What, e.Holder, e.Advice)
}

// HolderOf is who has a reservation, in words.
func HolderOf(r Reservation) string {
	if r.Holder == nil {
		return fmt.Sprintf("it is reserved for %s", r.Identity)
	}
	return fmt.Sprintf("it is reserved for %s, whose container %s on node %s has it", r.Identity, r.Holder.Attachment.Container, r.Holder.Node)
}
