package config

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// A guard is what a change of the configuration relies on besides its base: that nobody has, or gets, what the change takes away.
// Its operations are part of the change's transaction.
type guard struct {
	compares []clientv3.Cmp
	ops      []clientv3.Op
}

func (g *guard) join(other guard) {
	g.compares, g.ops = append(g.compares, other.compares...), append(g.ops, other.ops...)
}

// guard checks that a change takes nothing from anybody, and returns the compares that keep this true until it is carried
// out. A pool that the change removes, or whose mode it changes, is to be unused; of one that stays no gateway moves onto a holder,
// no stateful range grows over a node's block or shrinks below a reservation, and no CIDR goes that somebody uses.
func (s *Editor) guard(ctx context.Context, base, next *Config, pools []string) (all guard, err error) {
	for _, name := range pools {
		was, known := base.Pools[name]
		is, stays := next.Pools[name]
		var g guard
		switch {
		case !known:
		case !stays:
			g, err = s.guardUnused(ctx, name)
		default:
			g, err = s.guardStaying(ctx, base, &was, &is)
		}
		if err != nil {
			return all, err
		}
		all.join(g)
	}
	return all, nil
}

// guardStaying is about a pool that stays.
func (s *Editor) guardStaying(ctx context.Context, base *Config, was, is *allocator.Pool) (all guard, err error) {
	for _, about := range [...]func() (guard, error){
		func() (guard, error) { return s.guardMode(ctx, was, is) },
		func() (guard, error) { return s.guardCIDRs(ctx, was, is) },
		func() (guard, error) { return s.guardRanges(ctx, was, is) },
		func() (guard, error) { return s.guardGateways(ctx, base, was, is) },
	} {
		g, err := about()
		if err != nil {
			return all, err
		}
		all.join(g)
	}
	return all, nil
}

// guardRanges is about the stateful ranges of a pool.
func (s *Editor) guardRanges(ctx context.Context, was, is *allocator.Pool) (g guard, err error) {
	grown, shrunk := beyond(is.Stateful, was.Stateful), beyond(was.Stateful, is.Stateful)
	if len(grown) > 0 {
		if g, err = s.guardGrowth(ctx, was.Name, grown); err != nil {
			return g, err
		}
	}
	if len(shrunk) > 0 {
		err = s.guardShrinking(ctx, was.Name, shrunk, &g)
	}
	return g, err
}

// beyond is what of the ranges no other covers.
func beyond(ranges, others []netip.Prefix) (left []netip.Prefix) {
	for _, r := range ranges {
		left = append(left, allocator.Subtract(r, others)...)
	}
	return left
}

func anyContains(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(a) })
}

// guardGrowth checks that no node owns what a stateful range is to grow over. A node's own address stays its own, in a block that is
// kept for reservations otherwise.
func (s *Editor) guardGrowth(ctx context.Context, pool string, grown []netip.Prefix) (g guard, err error) {
	blocks, revision, err := kv.List(ctx, s.kv, record.BlockCodec, pool)
	if err != nil {
		return g, err
	}
	for _, b := range blocks {
		if !anyContains(grown, b.Prefix.Addr()) {
			continue
		}
		for _, part := range b.Parts {
			if part.Owner != record.OwnerStateful && part.Owner != record.OwnerMachine {
				return g, &GrowError{Pool: pool, Node: part.Owner, Block: b.Prefix}
			}
		}
		if len(b.Uncovered()) > 0 {
			g.ops = append(g.ops, kv.Put(s.kv.Keys.Block(pool, b.Prefix), b.Covered(record.OwnerStateful)))
		}
	}
	g.compares = append(g.compares, s.untouched(kv.KindBlock, pool, revision))
	return g, nil
}

// guardShrinking checks that no reservation lies in what a pool's stateful ranges are to lose. A reservation that is made
// meanwhile is a key that is created; that others are attached or detached does not matter.
func (s *Editor) guardShrinking(ctx context.Context, pool string, shrunk []netip.Prefix, g *guard) error {
	reservations, revision, err := kv.List(ctx, s.kv, record.ReservationCodec, pool)
	if err != nil {
		return err
	}
	for _, r := range reservations {
		if anyContains(shrunk, r.Address) {
			return &record.TakenError{
				Pool: pool, What: "one for stateless containers", Address: r.Address, Holder: record.HolderOf(r),
				Advice: "keep the stateful range that it lies in, or release the reservation (berthctl release)",
			}
		}
	}
	made := clientv3.CreateRevision(s.kv.Keys.Under(kv.KindReservation, pool))
	g.compares = append(g.compares, clientv3.Compare(made, "<", revision+1).WithPrefix())
	return nil
}

// freeShrunk gives back the blocks that were kept for reservations and that no stateful range of their pool has any more. No
// reservation lies in them: the change that has taken the range away compared that, and every new one compares the pool.
func (s *Editor) freeShrunk(ctx context.Context, pool allocator.Pool, revision int64) error {
	blocks, err := kv.Readable(ctx, s.kv, record.BlockCodec, pool.Name)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		if pool.InStateful(b.Prefix.Addr()) || len(b.Of(record.OwnerStateful)) == 0 {
			continue
		}
		key, rest := s.kv.Keys.Block(pool.Name, b.Prefix), b.Without(record.OwnerStateful)
		op := kv.Put(key, rest)
		if len(rest.Parts) == 0 {
			op = clientv3.OpDelete(key)
		}
		t := kv.Transact("free range")
		t.If(kv.Unchanged(s.kv.Keys.Pool(pool.Name), revision), kv.Unchanged(key, b.Revision))
		t.Then(op)
		if err := s.kv.Execute(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// guardUnused checks that a pool that is to be removed is not in use.
func (s *Editor) guardUnused(ctx context.Context, pool string) (g guard, err error) {
	if g, err = s.unused(ctx, pool); err == nil {
		g.ops = []clientv3.Op{clientv3.OpDelete(s.kv.Keys.Under(kv.KindBlock, pool), clientv3.WithPrefix())}
	}
	return g, err
}

// unused checks that a pool is not in use, and fails with *InUseError where it is. Nodes' own addresses are no use of it.
func (s *Editor) unused(ctx context.Context, pool string) (guard, error) {
	return s.unusedWithin(ctx, pool, func(netip.Addr) bool { return true })
}

// unusedWithin is unused, for a part of a pool.
func (s *Editor) unusedWithin(ctx context.Context, pool string, within func(netip.Addr) bool) (g guard, err error) {
	const examples = 3
	use := &InUseError{Pool: pool}
	example := func(format string, args ...any) {
		if len(use.Examples) < examples {
			use.Examples = append(use.Examples, fmt.Sprintf(format, args...))
		}
	}
	blocks, blocksAt, err := kv.List(ctx, s.kv, record.BlockCodec, pool)
	if err != nil {
		return g, err
	}
	for _, b := range blocks {
		for _, part := range b.Parts {
			if within(part.Prefix.Addr()) && part.Owner != record.OwnerStateful && part.Owner != record.OwnerMachine {
				use.Blocks++
				example("block %s of node %s", part.Prefix, part.Owner)
			}
		}
	}
	reservations, reservationsAt, err := kv.List(ctx, s.kv, record.ReservationCodec, pool)
	if err != nil {
		return g, err
	}
	for _, r := range reservations {
		if !within(r.Address) {
			continue
		}
		use.Reservations++
		example("%s for %s", r.Address, r.Identity)
	}
	if use.Blocks+use.Reservations > 0 {
		return g, use
	}
	g.compares = []clientv3.Cmp{s.untouched(kv.KindBlock, pool, blocksAt), s.untouched(kv.KindReservation, pool, reservationsAt)}
	return g, nil
}

// untouched compares that no record of a pool was written after a revision.
func (s *Editor) untouched(kind kv.Kind, pool string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(s.kv.Keys.Under(kind, pool)), "<", revision+1).WithPrefix()
}

// Excluded are, in words, those who have an address that a change excludes: they keep it. At most a few are named, and
// how many there are in all.
func (s *Editor) Excluded(ctx context.Context, base, next *Config) (words []string, count int, err error) {
	const named = 5
	example := func(format string, args ...any) {
		if count++; count <= named {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	for _, name := range differing(base, next) {
		was, known := base.Pools[name]
		is, stays := next.Pools[name]
		if !known || !stays || !excludesMore(&was, &is) {
			continue
		}
		newly := func(a netip.Addr) bool { return was.Usable(a) && !is.Usable(a) }
		assignments, _, err := kv.List(ctx, s.kv, record.AssignmentCodec, name)
		if err != nil {
			return nil, 0, err
		}
		for _, a := range assignments {
			if newly(a.Address) {
				example("%s stays with container %s on node %s", a.Address, strings.TrimSpace(a.App.String()+" "+a.Attachment.Container), a.Node)
			}
		}
		reservations, _, err := kv.List(ctx, s.kv, record.ReservationCodec, name)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range reservations {
			if newly(r.Address) {
				example("%s stays reserved for %s", r.Address, r.Identity)
			}
		}
	}
	return words, count, nil
}

func excludesMore(was, is *allocator.Pool) bool {
	return slices.ContainsFunc(is.Exclude, func(r allocator.Range) bool { return !slices.Contains(was.Exclude, r) })
}
