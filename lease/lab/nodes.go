package lab

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// A Joined is a node of a test: its session, and the store by which it joined.
type Joined struct {
	*session.Session
	Store *Store
}

// Join is the session of a node that joins.
func (s *Store) Join(ctx context.Context, me record.Node) (*Joined, error) {
	x, err := s.Sessions.Join(ctx, me)
	if err != nil {
		return nil, err
	}
	return &Joined{x, s}, nil
}

// Reserve reserves by the node's own store.
func (x *Joined) Reserve(ctx context.Context, requests []reservation.Request) ([]record.Reservation, error) {
	return x.Store.Reservations.Reserve(ctx, x.Session, requests)
}

// Node is a record of a machine of that name.
func Node(name string) record.Node {
	return record.Node{
		Name: name, Machine: "machine of " + name, Boot: "first", Journal: "j", Address: "192.0.2.1", Version: "v1",
		Fencing: record.FencingEvidence, Session: allocator.Duration(time.Minute), AddressLease: allocator.Duration(time.Hour),
		Started: time.Now().UTC(),
	}
}

// Join is a node that must be let in.
func (l *Lab) Join(s *Store, name string) *Joined {
	l.Helper()
	x, err := s.Join(l.Context(), Node(name))
	l.Check(err)
	return x
}

// Brief is a node whose session ends soon after it was last kept.
func Brief(name string) record.Node {
	n := Node(name)
	n.Session = allocator.Duration(2 * time.Second)
	return n
}

// JoinBriefly joins with a session that nobody keeps, and that ends soon.
func (l *Lab) JoinBriefly(s *Store, name string) *Joined {
	l.Helper()
	x, err := s.Join(l.Context(), Brief(name))
	l.Check(err)
	return x
}

// Keep renews a session until the test ends.
func (l *Lab) Keep(x *Joined) {
	l.Helper()
	l.Beside(func(ctx context.Context) { _ = x.Keep(ctx, Told(func(time.Duration) {})) })
}

// Absent waits until a node's session has expired.
func (l *Lab) Absent(s *Store, names ...string) {
	l.Helper()
	l.Until("the sessions have expired", func() bool {
		alive, err := s.Sessions.Sessions(l.Context())
		l.Check(err)
		for _, name := range names {
			for _, a := range alive {
				if a == name {
					return false
				}
			}
		}
		return true
	})
}

// Told hears of proofs and arms nothing.
type Told func(sent time.Duration)

// Arm arms nothing.
func (Told) Arm() error { return nil }

// Proven tells of a proof.
func (f Told) Proven(sent time.Duration) { f(sent) }

// Away makes a node that owns a block and is gone, and returns the block and the absence.
func (l *Lab) Away(c *config.Config, name, at string, change ...func(*record.Node)) (record.Block, record.Absence) {
	l.Helper()
	s, n := l.Store(), Brief(name)
	for _, f := range change {
		f(&n)
	}
	x, err := s.Join(l.Context(), n)
	l.Check(err)
	b := l.Claims(x, c, at)
	l.Absent(s, name)
	return b, record.Absence{Node: name, Revision: x.Generation()}
}

// Claims claims a block that must be had.
func (l *Lab) Claims(x *Joined, c *config.Config, at string) record.Block {
	l.Helper()
	b, err := block.Claim(l.Context(), x.Session, "default", c.PoolRevisions["default"], Prefix(at))
	l.Check(err)
	return b
}

// Second is the error alone.
func Second[T any](_ T, err error) error { return err }
