package block

import (
	"errors"
	"fmt"

	"github.com/berth-ipam/berth/lease/record"
)

var (
	// ErrTaken says that the block has an owner already.
	ErrTaken = errors.New("lease: the block has an owner")
	// ErrDemandMet says that the demand, or its node's session, has ended.
	ErrDemandMet = errors.New("lease: the demand has been met or has ended")
	// ErrManyParts says that a block is split into so many parts that it cannot be split further.
	ErrManyParts = errors.New("lease: the block has too many parts")
)

// A LostError says that a block is not as the caller knows it. Block is what etcd has; Revision 0: no record.
type LostError struct{ Block record.Block }

func (e *LostError) Error() string {
	return fmt.Sprintf("lease: block %s of pool %q has changed", e.Block.Prefix, e.Block.Pool)
}

// named puts what was tried in front of an error.
func named(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf("lease: %s: %w", fmt.Sprintf(format, args...), *err)
	}
}
