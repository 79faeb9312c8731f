package lease

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/allocator"
)

var (
	// ErrSessionLost says that etcd has ended the node's session: its key or its lease is gone.
	ErrSessionLost = errors.New("lease: the node's session has ended")
	// ErrReplaced says that another agent, or a later start of this one, has rewritten the node's key.
	ErrReplaced = errors.New("lease: the node's key was rewritten by another agent")
	// ErrTaken says that the block has an owner already.
	ErrTaken = errors.New("lease: the block has an owner")
	// ErrStaleConfig says that the pool was changed since the configuration that the caller knows.
	ErrStaleConfig = errors.New("lease: the pool has changed: read the configuration again")
	// ErrOtherLife says that etcd shows another history than before: it was restored, or made anew. See Store.Meet.
	ErrOtherLife = errors.New("lease: etcd is not the one it was: it was restored or made anew")
	// ErrClusterChanged says that the record of the cluster was rewritten since the session began.
	ErrClusterChanged = errors.New("lease: the record of the etcd cluster has changed")
	// ErrRecovering says that nothing is given to anybody, since etcd was restored and not every right has run out yet.
	ErrRecovering = errors.New("lease: etcd was restored or made anew, and nodes have time to assert what they hold: nothing new is " +
		"given until then")
	// ErrDemandMet says that nobody waits any more for what was to be given: the demand, or its node's session, has ended.
	ErrDemandMet = errors.New("lease: the demand has been met or has ended")
	// ErrManyParts says that a block is split into so many parts that it cannot be split further.
	ErrManyParts = errors.New("lease: the block has too many parts")
	// ErrNotDraining says that a pool that was to be drained is not, any more: somebody has taken it back into use.
	ErrNotDraining = errors.New("lease: somebody has taken it back into use, or removed it")
	// ErrNotReserved says that an identity has no reservation.
	ErrNotReserved = errors.New("lease: nothing is reserved")
)

// A DamagedError says that a record cannot be read, or cannot be as it is: somebody has written it by hand. It is not
// read as absent: whose it is, is not known.
type DamagedError struct {
	Key      string // as it is written
	At       Key    // the zero one where Key cannot be read
	Revision int64  // the key's mod revision; 0: the key is missing where it has to be
	Err      error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("lease: the record at %s cannot be read: %v", e.Key, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// A DetachError says which of many detachments failed, by their places in the list: the others are done.
type DetachError struct{ Each map[int]error }

func (e *DetachError) Error() string {
	first := slices.Min(slices.Collect(maps.Keys(e.Each)))
	return fmt.Sprintf("lease: %s failed: %v", count(len(e.Each), "detachment"), e.Each[first])
}

// A ConflictError says that somebody else changed the configuration first.
type ConflictError struct{ Winner HistoryEntry }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("lease: the configuration was changed meanwhile: revision %d by %s: read it and apply again", e.Winner.Revision,
		e.Winner.Who)
}

// An InUseError says why a pool cannot be removed.
type InUseError struct {
	Pool         string
	Blocks       int // that nodes own
	Reservations int
	Examples     []string // a few of them, in words
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("lease: pool %q is in use: %s and %s, such as %s: stop its containers and release its reservations first, "+
		"then `berthctl remove pool %s --drain`, which waits until nodes have given their blocks back",
		e.Pool, count(e.Blocks, "owned block"), count(e.Reservations, "reservation"), strings.Join(e.Examples, ", "), e.Pool)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// A ClusterError says that a node remembers another cluster than the one whose state this is.
type ClusterError struct{ Recorded, Actual string }

func (e *ClusterError) Error() string {
	return fmt.Sprintf("lease: this node's containers belong to the etcd cluster %s, and the endpoints are of cluster %s, whose "+
		"state does not come from it", e.Recorded, e.Actual)
}

// A NodeTakenError says that a node's name belongs to another machine.
type NodeTakenError struct{ Node, Machine, Address string }

func (e *NodeTakenError) Error() string {
	where := ""
	if e.Address != "" {
		where = " at " + e.Address
	}
	return fmt.Sprintf("lease: the node name %q belongs to machine %s%s: choose another name, or free this one with `berthctl node "+
		"remove %s` once that machine is gone for good",
		e.Node, e.Machine, where, e.Node)
}

// A NodeAliveError says that another boot of this machine, or a clone of it, keeps the node's session alive.
type NodeAliveError struct{ Node, Boot string }

func (e *NodeAliveError) Error() string {
	return fmt.Sprintf("lease: node %q is alive under another boot (%s): is this machine a clone, or does a second agent run in "+
		"another network namespace? Give each its own node name", e.Node, e.Boot)
}

// A LostBlockError says that a block is not as the caller knows it. Block is what etcd has; Revision 0: no record.
type LostBlockError struct{ Block Block }

func (e *LostBlockError) Error() string {
	return fmt.Sprintf("lease: block %s of pool %q has changed", e.Block.Prefix, e.Block.Pool)
}

// A HeldError says that another attachment, which counts as alive, has the reservation. Its Holder is never nil.
type HeldError struct{ Reservation Reservation }

func (e *HeldError) Error() string {
	r := e.Reservation
	return fmt.Sprintf("lease: %s has address %s, which is attached to %s on node %s since %s",
		r.Identity, r.Address, r.Holder.Attachment, r.Holder.Node, r.Holder.Since.Format("2006-01-02T15:04:05Z07:00"))
}

// A ReservedError says that an address that was asked for is reserved for another.
type ReservedError struct{ Reservation Reservation }

func (e *ReservedError) Error() string {
	return fmt.Sprintf("lease: address %s of pool %q is reserved for %s: ask for another one", e.Reservation.Address, e.Reservation.Pool,
		e.Reservation.Identity)
}

// An ExhaustedError says that every stateful address of a pool and family is reserved.
type ExhaustedError struct {
	Pool      string
	Family    allocator.Family
	Addresses uint64 // usable ones in the stateful ranges
}

func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("lease: pool %q is exhausted: all of its %d usable stateful %s addresses are reserved: release some, or add "+
		"a stateful range", e.Pool, e.Addresses, e.Family)
}

// A GrowError says that a node owns a block that a stateful range is to grow over.
type GrowError struct {
	Pool, Node string
	Block      netip.Prefix
}

func (e *GrowError) Error() string {
	return fmt.Sprintf("lease: pool %q: a stateful range cannot grow over block %s, which node %s owns: choose a range without it, "+
		"or wait until the node has given it back", e.Pool, e.Block, e.Node)
}
