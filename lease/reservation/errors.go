package reservation

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// ErrNotReserved says that an identity has no reservation.
var ErrNotReserved = errors.New("lease: nothing is reserved")

// A DetachError says which of many detachments failed, by their places in the list: the others are done.
type DetachError struct{ Each map[int]error }

func (e *DetachError) Error() string {
	first := slices.Min(slices.Collect(maps.Keys(e.Each)))
	return fmt.Sprintf("lease: %s failed: %v", inWords(len(e.Each)), e.Each[first])
}

// A HeldError says that another attachment, which counts as alive, has the reservation. Its Holder is never nil.
type HeldError struct{ Reservation record.Reservation }

func (e *HeldError) Error() string {
	r := e.Reservation
	return fmt.Sprintf("lease: %s has address %s, which is attached to %s on node %s since %s",
		r.Identity, r.Address, r.Holder.Attachment, r.Holder.Node, r.Holder.Since.Format("2006-01-02T15:04:05Z07:00"))
}

// A ReservedError says that an address that was asked for is reserved for another.
type ReservedError struct{ Reservation record.Reservation }

func (e *ReservedError) Error() string {
	r := e.Reservation
	return fmt.Sprintf("lease: address %s of pool %q is reserved for %s: ask for another one", r.Address, r.Pool, r.Identity)
}

// An ExhaustedError says that every stateful address of a pool and family is reserved.
type ExhaustedError struct {
	Pool      string
	Family    allocator.Family
	Addresses uint64 // usable ones in the stateful ranges
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("lease: pool %q is exhausted: all of its %d usable stateful %s addresses are reserved: release some, or add a "+
		"stateful range", e.Pool, e.Addresses, e.Family)
}

func inWords(n int) string {
	if n == 1 {
		return "1 detachment"
	}
	return fmt.Sprintf("%d detachments", n)
}
