package node

import (
	"errors"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
)

// recordDamaged is the kind of finding that a record in etcd is unreadable or invalid. Such a record is not read as absent: its
// owner is unknown, and nothing relies on it.
const recordDamaged = "record-damaged"

const recordAdvice = "berthctl doctor says what the record is to be; berthctl doctor --fix writes it where that is safe"

// damagedRecords are the keys of damaged records by their source. Each source finds out by itself when a record is repaired.
type damagedRecords struct {
	mu   lockorder.Subject
	keys map[string]map[string]bool
}

// swap replaces what a source knows, and returns the keys that it does not report any more.
func (b *damagedRecords) swap(source string, bad []*kv.DamagedError) (repaired []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := map[string]bool{}
	for _, e := range bad {
		now[e.Key] = true
	}
	for key := range b.keys[source] {
		if !now[key] {
			repaired = append(repaired, key)
		}
	}
	if b.keys == nil {
		b.keys = map[string]map[string]bool{}
	}
	b.keys[source] = now
	return repaired
}

// ReportDamagedBy replaces the findings of a source by those of bad.
func (n *Node) ReportDamagedBy(source string, bad []*kv.DamagedError) {
	for _, key := range n.bad.swap(source, bad) {
		n.ClearDamaged(key)
	}
	for _, e := range bad {
		n.NoteDamaged(e)
	}
}

// NoteDamaged sets the finding about a damaged record.
func (n *Node) NoteDamaged(e *kv.DamagedError) {
	n.Findings.Set(recordDamaged, e.Key, e.Err.Error(), recordAdvice)
}

// Report sets and clears the findings about the damaged records of a watched kind.
func Report[T any](n *Node, u kv.Update[T]) {
	for _, e := range u.Bad {
		n.NoteDamaged(e)
	}
	for _, e := range u.Repaired {
		n.ClearDamaged(e.Key)
	}
}

// Damaged reports whether an error is that of an unreadable record, and sets its finding. Only an operator can repair it, and it
// delays nothing else.
func (n *Node) Damaged(err error) bool {
	e, is := errors.AsType[*kv.DamagedError](err)
	if is {
		n.NoteDamaged(e)
	}
	return is
}

// ClearDamaged clears the finding about a record that can be read again.
func (n *Node) ClearDamaged(key string) { n.Findings.Clear(recordDamaged, key) }

// Key is where a record is in etcd.
func (n *Node) Key(k kv.Key) string { return kv.NewKeys(n.Etcd.Prefix).Of(k) }
