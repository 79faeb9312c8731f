package agent

import (
	"errors"
	"sync"

	"github.com/berth-ipam/berth/lease/kv"
)

// recordDamaged is the kind of finding that a record in etcd cannot be read, or cannot be as it is. Nothing is built upon
// such a record, and it is not read as absent: whose it is, is not known.
const recordDamaged = "record-damaged"

const recordAdvice = "berthctl doctor says what the record is to be; berthctl doctor --fix writes it where that is safe"

// badRecords are the keys of damaged records, by who has come upon them: each finds out for itself when one is mended.
type badRecords struct {
	mu   sync.Mutex
	keys map[string]map[string]bool
}

// swap takes in all that a source knows by now, and returns what it knew before and knows no more.
func (b *badRecords) swap(source string, bad []*kv.DamagedError) (mended []string) {
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

// tellBad makes the findings of a source what it knows by now.
func (a *Agent) tellBad(source string, bad []*kv.DamagedError) {
	for _, key := range a.badRecords.swap(source, bad) {
		a.findings.Clear(recordDamaged, key)
	}
	for _, e := range bad {
		a.foundBad(e)
	}
}

func (a *Agent) foundBad(e *kv.DamagedError) {
	a.findings.Set(recordDamaged, e.Key, e.Err.Error(), recordAdvice)
}

// report tells of the damaged records of a kind that is followed, and of those that are mended.
func report[T any](a *Agent, u kv.Update[T]) {
	for _, e := range u.Bad {
		a.foundBad(e)
	}
	for _, e := range u.Repaired {
		a.findings.Clear(recordDamaged, e.Key)
	}
}

// damaged reports whether an error is that of a record which cannot be read. Only a person can mend it, and it holds up
// nothing else.
func (a *Agent) damaged(err error) bool {
	e, is := errors.AsType[*kv.DamagedError](err)
	if is {
		a.foundBad(e)
	}
	return is
}
