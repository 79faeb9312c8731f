package reservation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/session"
)

// An Assertion is a reservation that an attachment of this node has, with the epoch by which it got it.
type Assertion struct {
	Pool       allocator.Pool
	Identity   allocator.Identity
	Attachment allocator.Attachment
	Workload   allocator.Workload
	Addresses  []netip.Addr
	Epoch      int64
}

// Assert restores in etcd what an attachment of this node has: the identity's reservations, attached to it. A record that is
// missing is made; one that nobody holds is attached, and so is one of an earlier epoch while the session is recovering. Another's
// stays as it is, and then ok is false; so it is where the identity has got other addresses since. It works during a recovery,
// too. It returns the epoch by which etcd attaches the reservations.
func Assert(ctx context.Context, x *session.Session, a Assertion) (epoch int64, ok bool, err error) {
	epoch, ok, err = assert(ctx, x, a)
	if err != nil {
		return 0, false, fmt.Errorf("lease: assert the reservation of %s for node %q: %w", a.Identity, x.Name(), err)
	}
	return epoch, ok, nil
}

func assert(ctx context.Context, x *session.Session, a Assertion) (epoch int64, ok bool, err error) {
	for range reserveTries {
		seen, err := seenBy(ctx, x, a)
		if err != nil {
			return 0, false, err
		}
		t, ok := seen.plan()
		if t == nil {
			return seen.epoch, ok, nil
		}
		if seen.unread != nil {
			return 0, false, seen.unread
		}
		if err := x.KV().Require(ctx, t); err != nil {
			return 0, false, err
		}
		if t.Done {
			return seen.epoch, true, nil
		}
	}
	return 0, false, errors.New("others keep coming between: try again")
}
