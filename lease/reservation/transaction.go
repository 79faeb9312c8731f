package reservation

import (
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// memberOps is how many operations, compares or reads a member's part of a transaction has at most. Etcd counts nested ones
// against the limit of the whole transaction.
const memberOps = 7

// A nest is a member's part of the call's transaction. It is nested, so that one member's conflict does not stop the others. Where
// it does not write it reads all that the next step may need.
type nest struct {
	*kv.Txn
	identity      *kv.Read
	slots         []slotReads // as the member's
	session, node *kv.Read    // of the node that has the reservation; nil: nobody has it
}

type slotReads struct{ reservation, block *kv.Read }

func (m *member) transact(t *kv.Txn, s step) {
	m.now = nest{Txn: t}
	if s == write {
		m.done = m.wanted(m.call.store.kv.Clock.Wall())
		m.compare(t)
		m.write(t)
	}
	m.read(&m.now)
}

func (m *member) compare(t *kv.Txn) {
	keys := m.call.store.kv.Keys
	if !m.reserved || !m.complete() { // else the compares of its reservations fail where it has ended, too
		t.If(kv.Unchanged(keys.Identity(m.Identity), m.identity))
	}
	for _, s := range m.slots {
		t.If(kv.Unchanged(keys.Reservation(m.pool, s.address), s.reservation.Revision))
		if s.reservation.Revision == 0 {
			t.If(kv.Unchanged(keys.Block(m.pool, m.Pool.BlockOf(s.address)), s.block))
		}
	}
	if h := m.held().Holder; m.call.attaches() && h != nil && h.Node != m.call.node() {
		t.If(record.AbsentFor(m.call.store.kv.Keys, record.Absence{Node: h.Node, Revision: m.holder.nodeRevision})...)
	}
}

func (m *member) write(t *kv.Txn) {
	keys := m.call.store.kv.Keys
	if !m.reserved || m.extended() {
		t.Then(kv.Put(keys.Identity(m.Identity), record.IdentityRecord{Pool: m.pool, Addresses: m.addresses()}))
	}
	for _, r := range m.done {
		t.Then(kv.Put(keys.Reservation(r.Pool, r.Address), r))
	}
}

func (m *member) read(n *nest) {
	keys := m.call.store.kv.Keys
	n.identity = n.Else(keys.Identity(m.Identity))
	for _, s := range m.slots {
		n.slots = append(n.slots, slotReads{
			n.Else(keys.Reservation(m.pool, s.address)), n.Else(keys.Block(m.pool, m.Pool.BlockOf(s.address))),
		})
	}
	m.lookedUp = ""
	if h := m.held().Holder; h != nil {
		m.lookedUp = h.Node
		n.session, n.node = n.Else(keys.Session(h.Node), clientv3.WithKeysOnly()), n.Else(keys.Node(h.Node))
	}
}

// learn takes over what the transaction has read.
func (m *member) learn() error {
	for i, s := range m.now.slots {
		if err := m.learnReservation(&m.slots[i], s.reservation.KVs); err != nil {
			return err
		}
		if err := m.learnBlock(&m.slots[i], s.block.KVs); err != nil {
			return err
		}
	}
	m.holder = currentHolder{node: m.lookedUp}
	if m.lookedUp != "" {
		if err := m.learnHolder(m.now.session.KVs, m.now.node.KVs); err != nil {
			return err
		}
	}
	return m.learnIdentity(m.now.identity.KVs)
}

func (m *member) learnReservation(s *slot, kvs []*mvccpb.KeyValue) (err error) {
	s.reservation = record.Reservation{}
	if len(kvs) > 0 {
		s.reservation, err = record.ReservationCodec.Read(m.call.store.kv.Keys, kvs[0])
	}
	if err != nil {
		return m.avoid(s, err)
	}
	if s.reservation.Revision > 0 && s.reservation.Identity != m.Identity {
		m.call.taken[m.at(s.address)] = s.reservation
	}
	return nil
}

// avoid excludes an address of which a record cannot be read from the choice: it is somebody's, and whose is not known. For a
// member that has, or asks for, this address it is an error.
func (m *member) avoid(s *slot, err error) error {
	m.call.taken[m.at(s.address)] = record.Reservation{}
	if m.reserved && !s.candidate || slices.Contains(m.Addresses, s.address) {
		return err
	}
	return nil
}

func (m *member) learnBlock(s *slot, kvs []*mvccpb.KeyValue) error {
	at := m.blockOf(s.address)
	if s.block = 0; len(kvs) == 0 {
		return nil
	}
	b, err := record.ReadBlock(m.call.store.kv.Keys, at.Pool, at.Prefix, kvs)
	if err != nil {
		m.call.foreign[at] = record.Block{Pool: at.Pool, Prefix: at.Prefix}
		return m.avoid(s, err)
	}
	m.call.store.cache.learnBlockRecord(b)
	if b.Stateful() {
		s.block = b.Revision
	} else {
		m.call.foreign[at] = b
	}
	return nil
}

func (m *member) learnHolder(session, node []*mvccpb.KeyValue) error {
	m.holder.session, m.holder.nodeRevision = len(session) > 0, kv.RevisionOf(node)
	if len(node) == 0 {
		return nil
	}
	record, err := record.NodeCodec.Read(m.call.store.kv.Keys, node[0])
	m.holder.fencing, m.holder.nobody = record.Fencing, record.Removed != nil
	return err
}

// learnIdentity sets the slots by the identity's record. Without a record they are candidates.
func (m *member) learnIdentity(kvs []*mvccpb.KeyValue) error {
	m.fresh, m.identity = true, kv.RevisionOf(kvs)
	if len(kvs) == 0 {
		m.reserved, m.pool = false, m.Pool.Name
		m.call.store.cache.forget(m.Identity)
		return nil
	}
	record, err := record.IdentityCodec.Read(m.call.store.kv.Keys, kvs[0])
	if err != nil {
		return err
	}
	former := m.slots
	m.reserved, m.pool, m.slots = true, record.Pool, nil
	for _, a := range record.Addresses {
		s := slot{address: a}
		if i := slices.IndexFunc(former, func(f slot) bool { return f.address == a }); i >= 0 {
			s = former[i]
			s.candidate = false // the record names it
		} else if m.pool == m.Pool.Name {
			m.fresh = false // this one was not read yet
			if !m.Pool.Contains(a) {
				return fmt.Errorf("lease: the record at %s names address %s, which pool %q does not have", kvs[0].Key, a, m.pool)
			}
		}
		m.slots = append(m.slots, s)
	}
	m.arrange()
	return nil
}
