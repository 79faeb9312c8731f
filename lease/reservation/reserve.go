package reservation

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

const (
	reserveTries = 64 // how many conflicts one member of a call may have
	refreshAfter = 4  // conflicts after which all of the pool's reservations are read, to choose better
)

// A Request asks for the reserved address of a member of a stateful app: one of each of the pool's families.
type Request struct {
	Pool         allocator.Pool
	PoolRevision int64 // the mod revision of the pool's key
	Identity     allocator.Identity
	Attachment   allocator.Attachment
	Workload     allocator.Workload        // kept with the attachment, for people
	Addresses    []netip.Addr              // asked for, at most one of each family
	Taken        func(netip.Addr) bool     // guides the choice of a new address; may be out of date, may be nil
	Release      *record.Holder            // a former holder that is known to be gone
	Waited       func(record.Absence) bool // whether a strictly fenced node has been absent for its whole right and a tenth; nil: none has
	Fencing      string                    // the cluster's mode: what counts of a node without a record, whose Absence has revision 0
}

// Reserve attaches the reservations of a set of members here, and makes those that are missing. A new identity gets a
// free address of the pool's stateful ranges, a known one its own with the epoch raised. Members share transactions,
// but each is reserved or not by itself: what was done is returned beside the error, for the caller to undo.
//
// The error is *HeldError where another attachment is alive: on this node unless Release names it, elsewhere while its
// node has a right to it. Others are *ExhaustedError, *ReservedError, ErrStaleConfig, ErrRecovering, and those that end
// the session.
func (s *Store) Reserve(ctx context.Context, x *session.Session, requests []Request) ([]record.Reservation, error) {
	if err := x.Entitled(); err != nil {
		return nil, err
	}
	return reserve(ctx, &call{store: s, session: x}, requests)
}

// ReserveFor reserves an address for a member before it runs. One that has its reservation keeps it.
func (s *Store) ReserveFor(ctx context.Context, pool allocator.Pool, poolRevision int64, id allocator.Identity,
	asked []netip.Addr) ([]record.Reservation, error) {
	response, err := s.kv.Get(ctx, s.kv.Keys.Cluster())
	if err != nil {
		return nil, err
	}
	certain, err := session.Certain(s.kv.Keys, response.Header, response.Kvs)
	if err == nil && !certain {
		err = session.ErrRecovering
	}
	if err != nil {
		return nil, err
	}
	request := Request{Pool: pool, PoolRevision: poolRevision, Identity: id, Addresses: asked}
	return reserve(ctx, &call{store: s, cluster: kv.RevisionOf(response.Kvs)}, []Request{request})
}

// call is one call.
type call struct {
	store   *Store
	session *session.Session // nil: nobody is attached
	cluster int64            // without a session: the mod revision of the cluster's record
	members []*member
	rounds  int
	picked  map[ipam.Address]*member            // who of the call has, or wants, an address
	taken   map[ipam.Address]record.Reservation // for others, as this call has seen; of some the key alone is known
	listed  map[string]int                      // pools of which taken has all, and in which round they were read
	foreign map[ipam.BlockID]record.Block       // in the stateful ranges, and not stateful; without parts: it cannot be read
}

func (r *call) attaches() bool { return r.session != nil }

// node is the name of the one that attaches.
func (r *call) node() string { return r.session.Name() }

// reserve carries a call out.
func reserve(ctx context.Context, r *call, requests []Request) ([]record.Reservation, error) {
	r.picked, r.taken = map[ipam.Address]*member{}, map[ipam.Address]record.Reservation{}
	r.listed, r.foreign = map[string]int{}, map[ipam.BlockID]record.Block{}
	if err := r.valid(requests); err != nil {
		return nil, fmt.Errorf("lease: reserve: %w", err)
	}
	for _, request := range requests {
		r.members = append(r.members, r.newMember(request))
	}
	err := r.run(ctx)
	var done []record.Reservation
	for _, m := range r.members {
		if m.settled {
			done = append(done, m.done...)
		}
	}
	return done, err
}

func (r *call) run(ctx context.Context) error {
	for lost := 1; ; {
		tries, t, err := r.round(ctx)
		if err != nil || len(tries) == 0 {
			return err
		}
		err = r.store.kv.Commit(ctx, lost, t)
		switch {
		case err != nil && r.store.kv.ShouldRetry(ctx, lost, err):
			lost++
			continue
		case err != nil:
			return err
		case !t.Done:
			return cmp.Or(t.Verdict(), error(record.ErrStaleConfig))
		}
		lost = 1
		if err := r.learn(tries, t.Revision()); err != nil {
			return err
		}
	}
}

// A try is a member's part in a round.
type try struct {
	*member
	step step
}

// round makes one transaction of as many members that are not settled as it can hold.
func (r *call) round(ctx context.Context) (tries []try, t *kv.Txn, err error) {
	r.rounds++
	t = r.fenced()
	claims := map[ipam.BlockID]bool{}
	for _, m := range r.members {
		if m.settled {
			continue
		}
		s, err := r.decide(ctx, m)
		if err != nil {
			return nil, t, err
		}
		if s == keep {
			continue
		}
		blocks := m.unclaimed(s, claims)
		if len(tries)+1+len(claims)+len(blocks) > kv.MaxOps-memberOps {
			break
		}
		for _, at := range blocks {
			claims[at] = true
		}
		tries = append(tries, try{m, s})
		m.transact(t.Nest(), s)
	}
	for at := range claims {
		key, claim := r.store.kv.Keys.Block(at.Pool, at.Prefix), t.Nest()
		claim.If(kv.Absent(key))
		claim.Then(kv.Put(key, record.StatefulBlock(at)))
	}
	r.samePools(tries, t)
	return tries, t, nil
}

func (r *call) decide(ctx context.Context, m *member) (step, error) {
	if m.tries++; m.tries > reserveTries {
		return look, fmt.Errorf("lease: reserve for %s: others keep coming between: try again", m.Identity)
	}
	choose := r.choose
	if m.reserved {
		choose = r.extend
	}
	if err := choose(ctx, m); err != nil {
		return look, err
	}
	s, err := m.next()
	if err == nil && s == keep {
		m.settled, m.done = true, nil
		for _, s := range m.slots {
			m.done = append(m.done, s.reservation)
		}
	}
	return s, err
}

// unclaimed are the blocks that the member's new reservations lie in, and that nobody owns nor is about to claim.
func (m *member) unclaimed(s step, claims map[ipam.BlockID]bool) (blocks []ipam.BlockID) {
	for _, slot := range m.slots {
		at := m.blockOf(slot.address)
		if s == write && slot.reservation.Revision == 0 && slot.block == 0 && !claims[at] {
			blocks = append(blocks, at)
		}
	}
	return blocks
}

// fenced begins a transaction that compares the session or, where nobody is attached, the cluster.
func (r *call) fenced() *kv.Txn {
	if r.session != nil {
		return r.session.Fenced("reserve")
	}
	t := kv.Transact("reserve")
	t.IfUnchanged(r.store.kv.Keys.Cluster(), r.cluster, session.ErrClusterChanged)
	return t
}

// samePools makes the transaction compare the pools that its members were chosen by.
func (r *call) samePools(tries []try, t *kv.Txn) {
	for _, m := range oneOfEachPool(tries) {
		t.IfUnchanged(r.store.kv.Keys.Pool(m.Pool.Name), m.PoolRevision, fmt.Errorf("%w (pool %q)", record.ErrStaleConfig, m.Pool.Name))
	}
}

// oneOfEachPool is one member of each pool, and of each revision that a pool is known by, in order.
func oneOfEachPool(tries []try) (each []*member) {
	type known struct {
		pool     string
		revision int64
	}
	seen := map[known]bool{}
	for _, m := range tries {
		if k := (known{m.Pool.Name, m.PoolRevision}); !seen[k] {
			seen[k] = true
			each = append(each, m.member)
		}
	}
	return each
}

// learn takes over what a round has written or read.
func (r *call) learn(tries []try, revision int64) error {
	for _, m := range tries {
		if !m.now.Done || m.step == look {
			if err := m.learn(); err != nil {
				return err
			}
			continue
		}
		m.settled = true
		for j := range m.done {
			m.done[j].Revision = revision
			at := m.blockOf(m.done[j].Address)
			if m.slots[j].reservation.Revision == 0 && m.slots[j].block == 0 {
				claimed := record.StatefulBlock(at)
				claimed.Revision = revision
				r.store.cache.learnBlockRecord(claimed)
			}
		}
		r.store.cache.learnAll(m.done...)
	}
	return nil
}
