package lease

import (
	"context"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// A joined is a node of a test: its session, and the store by which it joined.
type joined struct {
	*session.Session
	store *Store
}

func (s *Store) Join(ctx context.Context, me record.Node) (*joined, error) {
	x, err := s.Sessions.Join(ctx, me)
	if err != nil {
		return nil, err
	}
	return &joined{x, s}, nil
}

func (x *joined) ClaimBlock(ctx context.Context, pool string, revision int64, wanted netip.Prefix) (record.Block, error) {
	return block.Claim(ctx, x.Session, pool, revision, wanted)
}

func (x *joined) ReleaseBlock(ctx context.Context, b record.Block, part netip.Prefix) (record.Block, error) {
	return block.Release(ctx, x.Session, b, part)
}

func (x *joined) SettleBlock(ctx context.Context, b record.Block) (record.Block, error) {
	return block.Settle(ctx, x.Session, b)
}

func (x *joined) TakeBlock(ctx context.Context, b record.Block, revision int64, from record.Absence) (record.Block, error) {
	return block.TakeOver(ctx, x.Session, b, revision, from)
}

func (x *joined) AssertBlock(ctx context.Context, pool string, wanted netip.Prefix, parts []netip.Prefix) (record.Block, error) {
	return block.Assert(ctx, x.Session, pool, wanted, parts)
}

func (x *joined) ClaimMachine(ctx context.Context, pool allocator.Pool, revision int64, a netip.Addr, own bool) (record.Block, error) {
	return block.ClaimMachine(ctx, x.Session, pool, revision, a, own)
}

func (x *joined) ReleaseMachine(ctx context.Context, pool allocator.Pool, revision int64, a netip.Addr) (record.Block, error) {
	return block.ReleaseMachine(ctx, x.Session, pool, revision, a)
}

func (x *joined) Demand(ctx context.Context, d record.Demand) (record.Demand, error) {
	return block.Demand(ctx, x.Session, d)
}

func (x *joined) Withdraw(ctx context.Context, pool string) error {
	return block.Withdraw(ctx, x.Session, pool)
}

func (x *joined) Give(ctx context.Context, b record.Block, part netip.Prefix, d record.Demand) (record.Block, error) {
	return block.Transfer(ctx, x.Session, b, part, d)
}

func (x *joined) AssertReservation(ctx context.Context, a reservation.Assertion) (int64, bool, error) {
	return reservation.Assert(ctx, x.Session, a)
}

func (x *joined) Reserve(ctx context.Context, requests []reservation.Request) ([]record.Reservation, error) {
	return x.store.Reservations.Reserve(ctx, x.Session, requests)
}

func (x *joined) Detach(ctx context.Context, all []reservation.Detachment) error {
	return x.store.Reservations.Detach(ctx, all)
}

func (x *joined) Publish(ctx context.Context, batch rollout.Batch) error {
	return rollout.Publish(ctx, x.Session, batch)
}

func (x *joined) Shows(status record.Status) bool { return rollout.Shows(x.Session, status) }

func (x *joined) Answer(ctx context.Context, q record.ReportRequest, a record.NodeReport) error {
	return admin.Report(ctx, x.Session, q, a)
}
