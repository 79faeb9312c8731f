package node

import (
	"errors"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/kv"
)

// recordDamaged is the kind of finding that a record in etcd cannot be read, or cannot be as it is. Nothing is built upon
// such a record, and it is not read as absent: whose it is, is not known.
const recordDamaged = "record-damaged"

const recordAdvice = "berthctl doctor says what the record is to be; berthctl doctor --fix writes it where that is safe"

// damagedRecords are the keys of damaged records, by who has come upon them: each finds out for itself when one is mended.
type damagedRecords struct {
	mu   lockorder.Subject
	keys map[string]map[string]bool
}

// swap takes in all that a source knows by now, and returns what it knew before and knows no more.
func (b *damagedRecords) swap(source string, bad []*kv.DamagedError) (mended []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := map[string]bool{}
	for _, e := range bad {
		now[e.Key] = true
	}
	for key := range b.keys[source] {
		if !now[key] {
			mended = append(mended, key)
		}
	}
	if b.keys == nil {
		b.keys = map[string]map[string]bool{}
	}
	b.keys[source] = now
	return mended
}

// ReportDamagedBy makes the findings of a source what it knows by now.
func (n *Node) ReportDamagedBy(source string, bad []*kv.DamagedError) {
	for _, key := range n.bad.swap(source, bad) {
		n.ClearDamaged(key)
	}
	for _, e := range bad {
		n.NoteDamaged(e)
	}
}

// NoteDamaged tells of a damaged record.
func (n *Node) NoteDamaged(e *kv.DamagedError) {
	n.Findings.Set(recordDamaged, e.Key, e.Err.Error(), recordAdvice)
}

// Report tells of the damaged records of a kind that is followed, and of those that are mended.
func Report[T any](n *Node, u kv.Update[T]) {
	for _, e := range u.Bad {
		n.NoteDamaged(e)
	}
	for _, e := range u.Repaired {
		n.ClearDamaged(e.Key)
	}
}

// Damaged reports whether an error is that of a record which cannot be read. Only a person can mend it, and it holds up
// nothing else.
func (n *Node) Damaged(err error) bool {
	e, is := errors.AsType[*kv.DamagedError](err)
	if is {
		n.NoteDamaged(e)
	}
	return is
}

// ClearDamaged ends the finding about a record that can be read again.
func (n *Node) ClearDamaged(key string) { n.Findings.Clear(recordDamaged, key) }

// Key is where a record is in etcd.
func (n *Node) Key(k kv.Key) string { return kv.NewKeys(n.Prefix).Of(k) }
