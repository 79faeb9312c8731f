package member

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/session"
)

// gatewayNow is the address of an entry that is its pool's gateway by the present configuration: every node's bridge has it. No
// configuration takes an address from a container that etcd records; a node that was removed from the cluster may come back with one.
func (se *Settler) gatewayNow(e *journal.Entry) (gateway netip.Addr, pool *allocator.Pool) {
	pool, _, err := se.Pool(e.Pool)
	if err != nil {
		return netip.Addr{}, nil
	}
	for _, addr := range e.Addresses {
		if slices.Contains(pool.Gateways, addr) {
			return addr, pool
		}
	}
	return netip.Addr{}, nil
}

// isolateGateway isolates a container whose address is a gateway now.
func (se *Settler) isolateGateway(e *journal.Entry, gateway netip.Addr) {
	se.isolator.Isolate(e.Attachment, isolation.LostFor(e, fmt.Sprintf("its address %s is the gateway of pool %s now", gateway, e.Pool)))
}

// isolateGateways isolates the stateless containers whose address is a gateway now and lies in no part of this node's, so that no
// part is asserted for them.
func (se *Settler) isolateGateways(ctx context.Context) error {
	for _, e := range se.Journal.Entries() {
		gateway, pool := se.gatewayNow(e)
		if pool == nil || e.Class != allocator.Stateless || e.Isolated != nil {
			continue
		}
		b, err := se.Store.Blocks.Before(ctx, e.Pool, pool.BlockOf(gateway))
		if _, unknown := errors.AsType[*kv.DamagedError](err); unknown {
			continue // whoever asserts the block decides
		}
		if err != nil {
			return err
		}
		if b.OwnerOf(gateway) != se.Name {
			se.isolateGateway(e, gateway)
		}
	}
	return nil
}

// isolateMember isolates a stateful container whose address is a gateway now and not reserved for its member. It reports whether
// nothing is to be asserted for the container.
func (se *Settler) isolateMember(ctx context.Context, s *session.Session, e *journal.Entry) (decided bool, err error) {
	gateway, pool := se.gatewayNow(e)
	if pool == nil || s.Recovering() {
		return false, nil
	}
	switch r, err := se.Store.Reservations.Of(ctx, e.Pool, gateway); {
	case se.Damaged(err):
		se.isolator.Unsure.Add(e.Attachment, err)
		return true, nil
	case err != nil:
		return false, err
	case r != nil && r.Identity == e.Identity():
		return false, nil
	}
	se.isolateGateway(e, gateway)
	return true, nil
}
