package lease

import (
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
)

// A joined is a node of a test: its session, and the store by which it joined.
type joined struct {
	*Session
	store *Store
}

func (s *Store) Join(ctx context.Context, me Node) (*joined, error) {
	x, err := s.sessionStore.Join(ctx, me)
	if err != nil {
		return nil, err
	}
	return &joined{x, s}, nil
}

func (x *joined) ClaimBlock(ctx context.Context, pool string, revision int64, block netip.Prefix) (Block, error) {
	return ClaimBlock(ctx, x.Session, pool, revision, block)
}

func (x *joined) ReleaseBlock(ctx context.Context, b Block, part netip.Prefix) (Block, error) {
	return ReleaseBlock(ctx, x.Session, b, part)
}

func (x *joined) SettleBlock(ctx context.Context, b Block) (Block, error) {
	return SettleBlock(ctx, x.Session, b)
}

func (x *joined) TakeBlock(ctx context.Context, b Block, revision int64, from Absence) (Block, error) {
	return TakeBlock(ctx, x.Session, b, revision, from)
}

func (x *joined) AssertBlock(ctx context.Context, pool string, block netip.Prefix, parts []netip.Prefix) (Block, error) {
	return AssertBlock(ctx, x.Session, pool, block, parts)
}

func (x *joined) ClaimMachine(ctx context.Context, pool allocator.Pool, revision int64, a netip.Addr, own bool) (Block, error) {
	return ClaimMachine(ctx, x.Session, pool, revision, a, own)
}

func (x *joined) ReleaseMachine(ctx context.Context, pool allocator.Pool, revision int64, a netip.Addr) (Block, error) {
	return ReleaseMachine(ctx, x.Session, pool, revision, a)
}

func (x *joined) Demand(ctx context.Context, d Demand) (Demand, error) {
	return PostDemand(ctx, x.Session, d)
}

func (x *joined) Withdraw(ctx context.Context, pool string) error {
	return WithdrawDemand(ctx, x.Session, pool)
}

func (x *joined) Give(ctx context.Context, b Block, part netip.Prefix, d Demand) (Block, error) {
	return GivePart(ctx, x.Session, b, part, d)
}

func (x *joined) AssertReservation(ctx context.Context, a Assertion) (int64, bool, error) {
	return AssertReservation(ctx, x.Session, a)
}

func (x *joined) Reserve(ctx context.Context, requests []ReserveRequest) ([]Reservation, error) {
	return x.store.Reserve(ctx, x.Session, requests)
}

func (x *joined) Detach(ctx context.Context, all []Detachment) error { return x.store.Detach(ctx, all) }

func (x *joined) Publish(ctx context.Context, batch Batch) error {
	return Publish(ctx, x.Session, batch)
}

func (x *joined) Shows(status Status) bool { return Shows(x.Session, status) }

func (x *joined) Answer(ctx context.Context, q Question, a Answer) error {
	return AnswerQuestion(ctx, x.Session, q, a)
}
