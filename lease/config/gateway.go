package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
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

// guardGateways checks that nobody has, or may still be given, what becomes a gateway of a pool.
func (s *Editor) guardGateways(ctx context.Context, base *Config, was, is *allocator.Pool) (g guard, err error) {
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
func (s *Editor) guardGateway(
	ctx context.Context, pool *allocator.Pool, a netip.Addr, revision int64, excluded bool,
) (g guard, err error) {
	const becomes = "the gateway"
	keys, prefix := s.kv.Keys, pool.BlockOf(a)
	t := kv.Transact("read holders")
	assigned, reserved := t.Else(keys.Assignment(pool.Name, a)), t.Else(keys.Reservation(pool.Name, a))
	in := t.Else(keys.Block(pool.Name, prefix))
	if err := s.kv.Query(ctx, kv.CallTime, t); err != nil {
		return g, err
	}
	taken := &record.TakenError{Pool: pool.Name, What: becomes, Address: a}
	if assigned.Found() {
		assignment, err := record.AssignmentCodec.Read(keys, assigned.KVs[0])
		if err != nil {
			return g, err
		}
		taken.Holder = fmt.Sprintf("container %s on node %s has it", assignment.Attachment.Container, assignment.Node)
		taken.Advice = "end that container, then apply again"
		return g, taken
	}
	if reserved.Found() {
		reservation, err := record.ReservationCodec.Read(keys, reserved.KVs[0])
		if err != nil {
			return g, err
		}
		taken.Holder, taken.Advice = record.HolderOf(reservation), "release the reservation (berthctl release), then apply again"
		return g, taken
	}
	block, err := record.ReadBlock(s.kv.Keys, pool.Name, prefix, in.KVs)
	if err != nil {
		return g, err
	}
	switch part, owned := block.PartOf(a); {
	case !owned, part.Owner == record.OwnerStateful:
	case part.Owner == record.OwnerMachine:
		taken.Holder, taken.Advice = fmt.Sprintf("it is an address of node %s itself", part.Node), "choose another, or take it off that node"
		return g, taken
	default:
		if err := s.appliedBy(ctx, pool.Name, a, part.Owner, revision, excluded); err != nil {
			return g, err
		}
	}
	g.compares = []clientv3.Cmp{
		kv.Absent(keys.Assignment(pool.Name, a)), kv.Absent(keys.Reservation(pool.Name, a)),
		kv.Unchanged(keys.Block(pool.Name, prefix), block.Revision),
	}
	return g, nil
}

// appliedBy reports why a node may have given an address away that a pool excludes as of a revision. Before it is excluded
// only a node that is away is a reason, since nobody could wait for it.
func (s *Editor) appliedBy(ctx context.Context, pool string, a netip.Addr, node string, revision int64, excluded bool) error {
	t := kv.Transact("read status")
	said, session := record.StatusIn(t, s.kv.Keys, node), t.Else(s.kv.Keys.Session(node), clientv3.WithKeysOnly())
	err := s.kv.Query(ctx, kv.CallTime, t)
	if err != nil {
		return err
	}
	var status record.Status
	if counting := said.Counting(t.Header); len(counting) > 0 {
		if status, err = record.StatusCodec.Read(s.kv.Keys, counting[0]); err != nil {
			return err
		}
	}
	unapplied := &UnappliedError{Pool: pool, Address: a, Node: node, Away: !session.Found(), Revision: revision}
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
func (s *Editor) excluding(ctx context.Context, base, next *Config, pools []string) (first *Config, changed []string, err error) {
	first = base.Clone()
	for _, name := range pools {
		was, known := base.Pools[name]
		is, stays := next.Pools[name]
		if !known || !stays || rewires(&was, &is) { // nobody has anything of the pool
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

// whenApplied calls try until every live owner has applied the revision that it waits for, or until appliesWithin has passed.
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
		if err := task.Pause(ctx, kv.GatherTime); err != nil {
			return fmt.Errorf("%w, and then: %w", unapplied, err)
		}
	}
}
