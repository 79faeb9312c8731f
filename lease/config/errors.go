package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/berth-ipam/berth/lease/record"
)

// ErrNotDraining says that a pool that was to be drained is not, any more: somebody has taken it back into use.
var ErrNotDraining = errors.New("lease: somebody has taken it back into use, or removed it")

// A ConflictError says that somebody else changed the configuration first.
type ConflictError struct{ Winner record.HistoryEntry }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("lease: the configuration was changed meanwhile: revision %d by %s: read it and apply again",
		e.Winner.Revision, e.Winner.Who)
}

// An InUseError says why a pool cannot be removed.
type InUseError struct {
	Pool         string
	Blocks       int // that nodes own
	Reservations int
	Examples     []string // a few of them, in words
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("lease: pool %q is in use: %s: stop its containers and release its reservations first, "+
		"then `berthctl remove pool %s --drain`, which waits until nodes have given their blocks back", e.Pool, e.words(), e.Pool)
}

func (e *InUseError) words() string {
	return fmt.Sprintf("%s and %s, such as %s",
		count(e.Blocks, "owned block"), count(e.Reservations, "reservation"), strings.Join(e.Examples, ", "))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
