package lease

import (
	"context"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// node is a record of a machine of that name.
func node(name string) record.Node {
	return record.Node{
		Name: name, Machine: "machine of " + name, Boot: "first", Journal: "j", Address: "192.0.2.1", Version: "v1",
		Fencing: record.FencingEvidence, Session: allocator.Duration(time.Minute), AddressLease: allocator.Duration(time.Hour),
		Started: time.Now().UTC(),
	}
}

func (l *lab) join(s *Store, name string) *joined {
	l.Helper()
	x, err := s.Join(l.Context(), node(name))
	l.check(err)
	return x
}

// brief is a node whose session ends soon after it was last kept.
func brief(name string) record.Node {
	n := node(name)
	n.Session = allocator.Duration(2 * time.Second)
	return n
}

// joinBriefly joins with a session that nobody keeps, and that ends soon.
func (l *lab) joinBriefly(s *Store, name string) *joined {
	l.Helper()
	x, err := s.Join(l.Context(), brief(name))
	l.check(err)
	return x
}

// keep renews a session until the test ends.
func (l *lab) keep(x *joined) {
	l.Helper()
	l.beside(func(ctx context.Context) { _ = x.Keep(ctx, told(func(time.Duration) {})) })
}

// absent waits until a node's session has expired.
func (l *lab) absent(s *Store, names ...string) {
	l.Helper()
	l.until("the sessions have expired", func() bool {
		alive, err := s.Sessions.Sessions(l.Context())
		l.check(err)
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

// told hears of proofs and arms nothing.
type told func(sent time.Duration)

func (told) Arm() error                  { return nil }
func (f told) Proven(sent time.Duration) { f(sent) }

// away makes a node that owns a block and is gone, and returns the block and the absence.
func (l *lab) away(c *config.Config, name, block string, change ...func(*record.Node)) (record.Block, record.Absence) {
	l.Helper()
	s, n := l.store(), brief(name)
	for _, f := range change {
		f(&n)
	}
	x, err := s.Join(l.Context(), n)
	l.check(err)
	b := l.claims(x, c, block)
	l.absent(s, name)
	return b, record.Absence{Node: name, Revision: x.Generation()}
}

// claims claims a block that must be had.
func (l *lab) claims(x *joined, c *config.Config, block string) record.Block {
	l.Helper()
	b, err := x.ClaimBlock(l.Context(), "default", c.PoolRevisions["default"], prefix(block))
	l.check(err)
	return b
}

func second[T any](_ T, err error) error { return err }
