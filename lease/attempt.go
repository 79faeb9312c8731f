package lease

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// attemptOps is how many operations, compares or reads a member's part of a transaction has at most. Etcd counts what
// is nested against the limit of the whole.
const attemptOps = 7

// A nest is a member's part of the call's transaction: a nested one, so that one member's conflict is no other's. Where it
// does not write it reads all that the next step may need.
type nest struct {
	*txn
	identity      *read
	spots         []nestedSpot // as the member's
	session, node *read        // of the node that has the reservation; nil: nobody has it
}

type nestedSpot struct{ reservation, block *read }

func (m *member) attempt(t *txn, s step) {
	m.now = nest{txn: t}
	if s == write {
		m.done = m.wanted(time.Now().UTC())
		m.compare(t)
		m.write(t)
	}
	m.read(&m.now)
}

func (m *member) compare(t *txn) {
	keys := m.call.store.kv.keys
	if !m.reserved || !m.complete() { // else a compare of its reservations tells of its end, too
		t.If(unchanged(keys.identity(m.Identity), m.identity))
	}
	for _, s := range m.spots {
		t.If(unchanged(keys.reservation(m.pool, s.address), s.reservation.Revision))
		if s.reservation.Revision == 0 {
			t.If(unchanged(keys.block(m.pool, m.Pool.BlockOf(s.address)), s.block))
		}
	}
	if h := m.held().Holder; m.call.attaches() && h != nil && h.Node != m.call.node() {
		t.If(absentFor(m.call.store.kv.keys, Absence{Node: h.Node, Revision: m.rival.nodeRevision})...)
	}
}

func (m *member) write(t *txn) {
	keys := m.call.store.kv.keys
	if !m.reserved {
		t.Then(put(keys.identity(m.Identity), IdentityRecord{Pool: m.pool, Addresses: m.addresses()}))
	}
	for _, r := range m.done {
		t.Then(put(keys.reservation(r.Pool, r.Address), r))
	}
}

func (m *member) read(n *nest) {
	keys := m.call.store.kv.keys
	n.identity = n.Else(keys.identity(m.Identity))
	for _, s := range m.spots {
		n.spots = append(n.spots, nestedSpot{
			n.Else(keys.reservation(m.pool, s.address)), n.Else(keys.block(m.pool, m.Pool.BlockOf(s.address))),
		})
	}
	m.looked = ""
	if h := m.held().Holder; h != nil {
		m.looked = h.Node
		n.session, n.node = n.Else(keys.session(h.Node), clientv3.WithKeysOnly()), n.Else(keys.node(h.Node))
	}
}

// learn takes in what the part has read.
func (m *member) learn() error {
	for i, s := range m.now.spots {
		if err := m.learnReservation(&m.spots[i], s.reservation.kvs); err != nil {
			return err
		}
		if err := m.learnBlock(&m.spots[i], s.block.kvs); err != nil {
			return err
		}
	}
	m.rival = rival{node: m.looked}
	if m.looked != "" {
		if err := m.learnRival(m.now.session.kvs, m.now.node.kvs); err != nil {
			return err
		}
	}
	return m.learnIdentity(m.now.identity.kvs)
}

func (m *member) learnReservation(s *spot, kvs []*mvccpb.KeyValue) (err error) {
	s.reservation = Reservation{}
	if len(kvs) > 0 {
		s.reservation, err = reservationCodec.read(m.call.store.kv.keys, kvs[0])
	}
	if err != nil {
		return m.avoid(s, err)
	}
	if s.reservation.Revision > 0 && s.reservation.Identity != m.Identity {
		m.call.taken[addressAt{m.pool, s.address}] = s.reservation
	}
	return nil
}

// avoid lets a member that looks for an address pass over one of which a record cannot be read: it is somebody's, and
// whose is not known. To a member that has, or asks for, this very address it is an error.
func (m *member) avoid(s *spot, err error) error {
	m.call.taken[addressAt{m.pool, s.address}] = Reservation{}
	m.call.damaged[addressAt{m.pool, s.address}] = err
	if m.reserved || slices.Contains(m.Addresses, s.address) {
		return err
	}
	return nil
}

func (m *member) learnBlock(s *spot, kvs []*mvccpb.KeyValue) error {
	at := blockAt{m.pool, m.Pool.BlockOf(s.address)}
	if s.block = 0; len(kvs) == 0 {
		m.call.store.hints.forgetBlock(at)
		return nil
	}
	b, err := m.call.store.kv.keys.readBlock(at.pool, at.prefix, kvs)
	if err != nil {
		m.call.foreign[at] = Block{Pool: at.pool, Prefix: at.prefix}
		return m.avoid(s, err)
	}
	m.call.store.hints.sawBlock(b)
	if b.Stateful() {
		s.block = b.Revision
	} else {
		m.call.foreign[at] = b
	}
	return nil
}

func (m *member) learnRival(session, node []*mvccpb.KeyValue) error {
	m.rival.session, m.rival.nodeRevision = len(session) > 0, revisionOf(node)
	if len(node) == 0 {
		return nil
	}
	record, err := nodeCodec.read(m.call.store.kv.keys, node[0])
	m.rival.fencing, m.rival.nobody = record.Fencing, record.Removed != nil
	return err
}

// learnIdentity makes the spots what the identity's record says. Without a record they are candidates.
func (m *member) learnIdentity(kvs []*mvccpb.KeyValue) error {
	m.fresh, m.identity = true, revisionOf(kvs)
	if len(kvs) == 0 {
		m.reserved, m.pool = false, m.Pool.Name
		m.call.store.hints.forget(m.Identity)
		return nil
	}
	record, err := identityCodec.read(m.call.store.kv.keys, kvs[0])
	if err != nil {
		return err
	}
	former := m.spots
	m.reserved, m.pool, m.spots = true, record.Pool, nil
	for _, a := range record.Addresses {
		s := spot{address: a}
		if i := slices.IndexFunc(former, func(f spot) bool { return f.address == a }); i >= 0 {
			s = former[i]
		} else if m.pool == m.Pool.Name {
			m.fresh = false // this one was not read yet
			if !m.Pool.Contains(a) {
				return fmt.Errorf("lease: the record at %s names address %s, which pool %q does not have", kvs[0].Key, a, m.pool)
			}
		}
		m.spots = append(m.spots, s)
	}
	m.arrange()
	return nil
}
