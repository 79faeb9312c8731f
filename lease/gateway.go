package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// A gateway moves in two revisions. The first excludes the address. When the owner of the part that the address lies in has
// applied that, nobody can be given it any more, and whoever has it shows: so the second one compares that its block is
// still the same, and that nobody is assigned it nor has it reserved.

// newGateways are those that a pool has not had, of those that lie in it: no container could have one that lies outside.
func newGateways(was, is *allocator.Pool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(is.Gateways), func(g netip.Addr) bool { return slices.Contains(was.Gateways, g) || !is.Contains(g) })
}

// An UnappliedError says that the owner of an address that is to become a gateway has not applied the revision that
// excludes it.
type UnappliedError struct {
	Pool     string
	Address  netip.Addr
	Node     string
	Away     bool // it has no session
	Revision int64
}

func (e *UnappliedError) Error() string {
	if e.Away {
		return fmt.Sprintf("lease: pool %q: %s cannot become the gateway: node %s, which may have given it to a container, is away: "+
			"wait for it, or remove it (berthctl node remove %s)", e.Pool, e.Address, e.Node, e.Node)
	}
	return fmt.Sprintf("lease: pool %q: %s cannot become the gateway yet: node %s, which may have given it to a container, has not "+
		"applied revision %d, which excludes it: look at its log, then apply again", e.Pool, e.Address, e.Node, e.Revision)
}

// guardGateways looks whether somebody has, or may yet be given, what becomes a gateway of a pool.
func (s *configEditor) guardGateways(ctx context.Context, base *Config, was, is *allocator.Pool) (g guard, err error) {
	for _, a := range newGateways(was, is) {
		if !was.Contains(a) {
			continue // beyond the pool, and so in none: nobody can have it of a pool
		}
		one, err := s.guardGateway(ctx, was, a, base.PoolRevisions[was.Name], !was.Usable(a))
		if err != nil {
			return g, err
		}
		g.join(one)
	}
	return g, nil
}

// guardGateway is about one gateway, of a pool at a revision. Excluded says that the pool gives it to nobody anew.
func (s *configEditor) guardGateway(ctx context.Context, pool *allocator.Pool, a netip.Addr, revision int64, excluded bool) (g guard,
	err error) {
	const becomes = "the gateway"
	keys, prefix := s.kv.keys, pool.BlockOf(a)
	t := transact("read holders")
	assigned, reserved, in := t.Else(keys.assignment(pool.Name, a)), t.Else(keys.reservation(pool.Name, a)), t.Else(keys.block(pool.Name,
		prefix))
	if err := s.kv.consult(ctx, callTime, t); err != nil {
		return g, err
	}
	taken := &TakenError{Pool: pool.Name, What: becomes, Address: a}
	if assigned.there() {
		assignment, err := assignmentCodec.read(keys, assigned.kvs[0])
		if err != nil {
			return g, err
		}
		taken.Holder = fmt.Sprintf("container %s on node %s has it", assignment.Attachment.Container, assignment.Node)
		taken.Advice = "end that container, then apply again"
		return g, taken
	}
	if reserved.there() {
		reservation, err := reservationCodec.read(keys, reserved.kvs[0])
		if err != nil {
			return g, err
		}
		taken.Holder, taken.Advice = holderOf(reservation), "release the reservation (berthctl release), then apply again"
		return g, taken
	}
	block, err := s.kv.keys.readBlock(pool.Name, prefix, in.kvs)
	if err != nil {
		return g, err
	}
	switch part, owned := block.partOf(a); {
	case !owned, part.Owner == OwnerStateful:
	case part.Owner == OwnerMachine:
		taken.Holder, taken.Advice = fmt.Sprintf("it is an address of node %s itself", part.Node), "choose another, or take it off that node"
		return g, taken
	default:
		if err := s.appliedBy(ctx, pool.Name, a, part.Owner, revision, excluded); err != nil {
			return g, err
		}
	}
	g.compares = []clientv3.Cmp{
		absent(keys.assignment(pool.Name, a)), absent(keys.reservation(pool.Name, a)), unchanged(keys.block(pool.Name, prefix), block.Revision),
	}
	return g, nil
}

// appliedBy reports why a node may have given an address away that a pool excludes as of a revision. Before it is excluded
// only a node that is away is a reason, since nobody could wait for it.
func (s *configEditor) appliedBy(ctx context.Context, pool string, a netip.Addr, node string, revision int64, excluded bool) error {
	t := transact("read status")
	said, session := t.Else(s.kv.keys.status(node)), t.Else(s.kv.keys.session(node), clientv3.WithKeysOnly())
	err := s.kv.consult(ctx, callTime, t)
	if err != nil {
		return err
	}
	var status Status
	if said.there() {
		if status, err = statusCodec.read(s.kv.keys, said.kvs[0]); err != nil {
			return err
		}
	}
	unapplied := &UnappliedError{Pool: pool, Address: a, Node: node, Away: !session.there(), Revision: revision}
	switch {
	case excluded && status.Revision >= revision:
		return nil
	case excluded, unapplied.Away:
		return unapplied
	}
	return nil
}

// excluding is base with what is to become a gateway excluded, and the pools that differ; none: there is nothing to
// exclude first. It fails where somebody has it already, so that nothing is changed in vain.
func (s *configEditor) excluding(ctx context.Context, base, next *Config, pools []string) (first *Config, changed []string, err error) {
	first = base.Clone()
	for _, name := range pools {
		was, known := base.Pools[name]
		is, stays := next.Pools[name]
		if !known || !stays {
			continue
		}
		excluded := was
		for _, a := range newGateways(&was, &is) {
			if !was.Usable(a) { // excluded already, or beyond the pool
				continue
			}
			if _, err := s.guardGateway(ctx, &was, a, base.PoolRevisions[name], false); err != nil {
				return nil, nil, err
			}
			excluded.Exclude = append(slices.Clone(excluded.Exclude), allocator.Range{From: a, To: a})
		}
		if len(excluded.Exclude) > len(was.Exclude) {
			first.Pools[name], changed = excluded, append(changed, name)
		}
	}
	return first, changed, nil
}

// appliesWithin is how long a change waits for the owners of what becomes a gateway.
const appliesWithin = 30 * time.Second

// whenApplied calls try until no owner that lives has a revision yet to apply, or too much time has passed.
func whenApplied(ctx context.Context, waiting func(error), try func() error) error {
	for end := time.Now().Add(appliesWithin); ; {
		err := try()
		unapplied, is := errors.AsType[*UnappliedError](err)
		if !is || unapplied.Away || time.Now().After(end) {
			return err
		}
		if waiting != nil {
			waiting(err)
		}
		if err := pause(ctx, settling); err != nil {
			return fmt.Errorf("%w, and then: %w", unapplied, err)
		}
	}
}
