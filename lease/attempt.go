package lease

import (
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// attemptOps is how many operations, compares or reads a member's part of a transaction has at most. Etcd counts what
// is nested against the limit of the whole.
const attemptOps = 7

// attempt is the member's part of the call's transaction: a nested one, so that one member's conflict is no other's.
func (m *member) attempt(s step) clientv3.Op {
	if s == look {
		return clientv3.OpTxn(nil, m.gets(), nil)
	}
	m.done = m.wanted(time.Now().UTC())
	return clientv3.OpTxn(m.compares(), m.puts(), m.gets())
}

func (m *member) compares() (all []clientv3.Cmp) {
	keys := m.call.store.keys
	if !m.reserved || !m.complete() { // else a compare of its reservations tells of its end, too
		all = append(all, unchanged(keys.identity(m.Identity), m.identity))
	}
	for _, s := range m.spots {
		all = append(all, unchanged(keys.reservation(m.pool, s.address), s.reservation.Revision))
		if s.reservation.Revision == 0 {
			all = append(all, unchanged(keys.block(m.pool, m.Pool.BlockOf(s.address)), s.block))
		}
	}
	if h := m.held().Holder; m.call.attaches() && h != nil && h.Node != m.call.node() {
		all = append(all, m.call.store.absentFor(Absence{Node: h.Node, Revision: m.rival.nodeRevision})...)
	}
	return all
}

func (m *member) puts() (all []clientv3.Op) {
	keys := m.call.store.keys
	if !m.reserved {
		all = append(all, put(keys.identity(m.Identity), IdentityRecord{Pool: m.pool, Addresses: m.addresses()}))
	}
	for _, r := range m.done {
		all = append(all, put(keys.reservation(r.Pool, r.Address), r))
	}
	return all
}

// gets reads all that the next step may need; learn takes it in, in the same order.
func (m *member) gets() []clientv3.Op {
	keys := m.call.store.keys
	all := []clientv3.Op{clientv3.OpGet(keys.identity(m.Identity))}
	for _, s := range m.spots {
		all = append(all, clientv3.OpGet(keys.reservation(m.pool, s.address)), clientv3.OpGet(keys.block(m.pool, m.Pool.BlockOf(s.address))))
	}
	m.looked = ""
	if h := m.held().Holder; h != nil {
		m.looked = h.Node
		all = append(all, clientv3.OpGet(keys.session(h.Node), clientv3.WithKeysOnly()), clientv3.OpGet(keys.node(h.Node)))
	}
	return all
}

func (m *member) learn(read *etcdserverpb.TxnResponse) error {
	n := 0
	next := func() []*mvccpb.KeyValue {
		n++
		return read.Responses[n-1].GetResponseRange().GetKvs()
	}
	identity := next()
	for i := range m.spots {
		if err := m.learnReservation(&m.spots[i], next()); err != nil {
			return err
		}
		if err := m.learnBlock(&m.spots[i], next()); err != nil {
			return err
		}
	}
	m.rival = rival{node: m.looked}
	if m.looked != "" {
		if err := m.learnRival(next(), next()); err != nil {
			return err
		}
	}
	return m.learnIdentity(identity)
}

func (m *member) learnReservation(s *spot, kvs []*mvccpb.KeyValue) (err error) {
	s.reservation = Reservation{}
	if len(kvs) > 0 {
		s.reservation, err = reservationForm.read(m.call.store.keys, kvs[0])
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
	b, err := m.call.store.keys.readBlock(at.pool, at.prefix, kvs)
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
	record, err := nodeForm.read(m.call.store.keys, node[0])
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
	record, err := identityForm.read(m.call.store.keys, kvs[0])
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
